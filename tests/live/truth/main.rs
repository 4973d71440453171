//! The truth of what wsgi-trace says. Each test traces a real gunicorn under real clients and compares with a
//! witness that does not know of wsgi-trace. Witnesses are the access log, the application's clocks, the
//! clients' records, the kernel.
//!
//! In: nothing. Out: verdicts; the figures measured on standard error. Needs root or BPF capabilities.

mod accept_queue;
mod access_log;
mod asks_itself;
mod back_ends;
mod capacity;
mod computing;
mod cpus;
mod gil;
mod gil_holder;
mod gil_stacks;
mod held_locks;
mod herd;
mod hung_before;
mod independence;
mod lasting;
mod leaves;
mod light;
mod light_sleeps;
mod listeners;
mod looks;
mod loops;
mod more_threads;
mod new_master;
mod now;
mod own_threads;
mod phases;
mod recording;
mod schedstat;
mod slow_clients;
mod tasks;
mod unaccepted;
mod unix_queue;
mod waiting;
mod workers;
