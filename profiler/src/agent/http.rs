//! Answers over HTTP: metrics, reports, the page, health.
//!
//! In: what stands on the board. Out: responses. A window is looked at and an answer written out at most once
//! a second, however many ask. Connections are bounded in number and in time. So a client that asks without
//! reading, or never finishes asking, costs little and not for long.

mod answer;
mod door;
mod full;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

pub use answer::Answers;
pub use answer::{HTML, Reply, reply, say, serialized};
pub use door::{Behind, Door};

use super::listen::Socket;

/// Connections served at once; others wait in the accept queue.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send a request's head, and a connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection serves requests.
const SERVE_FOR: Duration = Duration::from_secs(30);
/// How long the response under way may take after that, or at the end of the agent.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// Most bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Pause after accepting failed: most likely no descriptor is free.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Serves on a thread of its own, until told to stop.
pub struct Server {
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Server {
    /// Starts.
    ///
    /// # Errors
    /// If the thread or its runtime cannot be started.
    pub fn start(socket: Socket, door: Door<impl Behind>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let listener = {
            let _within = runtime.enter();
            Listener::new(socket)?
        };
        let thread = std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = serve(&listener, Arc::new(door)) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_timeout(FINISH_WITHIN);
        })?;
        Ok(Self { stop, thread })
    }

    /// Stops; connections are closed.
    pub fn stop(self) {
        // The thread may have ended by itself: then there is nobody to tell, and its panic has been printed.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn new(socket: Socket) -> io::Result<Self> {
        match socket {
            Socket::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(TcpListener::from_std(listener)?))
            }
            Socket::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Self::Unix(UnixListener::from_std(listener)?))
            }
        }
    }
}

async fn serve(listener: &Listener, door: Arc<Door<impl Behind>>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let door = Arc::clone(&door);
        match listener {
            Listener::Tcp(listener) => match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(async move {
                        connection(stream, door).await;
                        drop(place);
                    });
                }
                Err(_) => sleep(AFTER_FAILURE).await,
            },
            Listener::Unix(listener) => match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(async move {
                        connection(stream, door).await;
                        drop(place);
                    });
                }
                Err(_) => sleep(AFTER_FAILURE).await,
            },
        }
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, door: Arc<Door<impl Behind>>) {
    let service = service_fn(move |request| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(door.answer(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // A client that went away or sent nonsense is its own affair; hyper has answered what can be answered.
    if timeout(SERVE_FOR, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(FINISH_WITHIN, connection).await;
    }
}
