//! Classes of descriptors, on real sockets of our own and on made-up tables.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;
use crate::fact::socket::sockets;

fn own() -> (Vec<(i32, String)>, HashMap<u64, Socket>) {
    let proc = Proc::default();
    let open = open_files(&proc, std::process::id()).expect("own descriptors");
    (open, sockets(&proc, std::process::id(), &|_, _| true))
}

fn class_of(fd: i32, listening: &Listening) -> DescriptorClass {
    let (open, sockets) = own();
    let all = descriptors(&Proc::default(), std::process::id(), &open, &sockets, listening);
    all.iter().find(|seen| seen.fd == fd).map(|seen| seen.class).expect("descriptor")
}

#[test]
fn both_ends_of_a_tcp_connection_are_distinguished_by_the_listener_s_port() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).expect("bind");
        let to = listener.local_addr().expect("address");
        let near = TcpStream::connect(to).expect("connect");
        let (mut far, _) = listener.accept().expect("accept");
        far.write_all(b"x").expect("write");
        let listening = Listening { ports: HashSet::from([to.port()]), paths: HashSet::new() };
        assert_eq!(class_of(listener.as_raw_fd(), &listening), DescriptorClass::Listener);
        assert_eq!(class_of(far.as_raw_fd(), &listening), DescriptorClass::Client);
        assert_eq!(class_of(near.as_raw_fd(), &listening), DescriptorClass::Backend { port: to.port() });
        let (open, sockets) = own();
        let listeners = listeners(1, &open, &sockets);
        let ours = listeners.iter().find(|seen| seen.fd == listener.as_raw_fd()).expect("listener");
        assert_eq!((ours.address.clone(), ours.port), (to.to_string(), to.port()));
    }
}

#[test]
fn unix_sockets_are_clients_back_ends_or_wake_ups() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("a b.sock");
    let listener = UnixListener::bind(&path).expect("bind");
    let near = UnixStream::connect(&path).expect("connect");
    let (far, _) = listener.accept().expect("accept");
    let (one, _two) = UnixStream::pair().expect("pair");
    let (_, sockets) = own();
    let paths = HashSet::from([path.to_string_lossy().into_owned()]);
    assert!(paths.is_subset(&Listening::among(sockets.values()).paths));
    let listening = Listening { ports: HashSet::new(), paths };
    assert_eq!(class_of(listener.as_raw_fd(), &listening), DescriptorClass::Listener);
    assert_eq!(class_of(far.as_raw_fd(), &listening), DescriptorClass::Client);
    assert_eq!(class_of(one.as_raw_fd(), &listening), DescriptorClass::Wakeup);
    drop(near);
}

#[test]
fn a_lone_nameless_unix_socket_is_a_back_end() {
    let nameless = Socket::Unix { path: None, listening: false, connected: true, peer: None, queue: None };
    let sockets = HashMap::from([(10, nameless.clone()), (20, nameless.clone()), (21, nameless)]);
    let listening = Listening::default();
    assert_eq!(class("socket:[10]", &sockets, &listening), DescriptorClass::Backend { port: 0 });
    assert_eq!(class("socket:[20]", &sockets, &listening), DescriptorClass::Wakeup);
    assert_eq!(class("socket:[21]", &sockets, &listening), DescriptorClass::Wakeup);
    assert_eq!(class("socket:[99]", &sockets, &listening), DescriptorClass::Socket);
}

/// A pool opens one after the other: its connections are neighbours, too.
#[test]
fn connections_of_a_pool_to_a_unix_socket_are_back_ends() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("server.sock");
    let listener = UnixListener::bind(&path).expect("bind");
    let pool: Vec<UnixStream> = (0..4).map(|_| UnixStream::connect(&path).expect("connect")).collect();
    let (_, sockets) = own();
    for connection in &pool {
        let target = std::fs::read_link(format!("/proc/self/fd/{}", connection.as_raw_fd())).expect("link");
        let class = class(&target.to_string_lossy(), &sockets, &Listening::default());
        assert_eq!(class, DescriptorClass::Backend { port: 0 });
    }
    drop(listener);
}

#[test]
fn what_is_no_socket_is_told_by_its_link() {
    let nothing = (HashMap::new(), Listening::default());
    for (target, expected) in [
        ("pipe:[1]", DescriptorClass::Wakeup),
        ("anon_inode:[eventfd]", DescriptorClass::Wakeup),
        ("anon_inode:[eventpoll]", DescriptorClass::Epoll),
        ("anon_inode:[timerfd]", DescriptorClass::Other),
        ("/var/log/x (deleted)", DescriptorClass::File),
        ("/dev/null", DescriptorClass::Other),
        ("/dev/shm/wgunicorn-x (deleted)", DescriptorClass::File),
        ("socket:[", DescriptorClass::Other),
        ("", DescriptorClass::Other),
    ] {
        assert_eq!(class(target, &nothing.0, &nothing.1), expected, "{target}");
    }
}

#[test]
fn the_interest_list_of_an_epoll_instance_is_read_from_its_fdinfo() {
    let directory = tempfile::tempdir().expect("directory");
    std::fs::create_dir_all(directory.path().join("7/fdinfo")).expect("fdinfo");
    let text = "pos:\t0\nflags:\t02000002\ntfd:        3 events:       19 data: 3  pos:0 ino:1 sdev:8\n\
                tfd:       12 events: 10000001 data: c  pos:0 ino:2 sdev:8\ntfd: x\n";
    std::fs::write(directory.path().join("7/fdinfo/5"), text).expect("fdinfo");
    let found = interest(&Proc::at(directory.path()), 7, 5);
    assert_eq!(found, (vec![3, 12], vec![0x19, 0x1000_0001]));
    assert!(interest(&Proc::at(directory.path()), 7, 6).0.is_empty());
}
