//! NATS as far as these tests need it: a server, a port that has none, a subscriber.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(10);

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A port of this machine that is taken but answers nobody, so that no other test's server comes to be there.
pub struct ClosedPort {
    _socket: OwnedFd,
    port: u16,
}

impl ClosedPort {
    /// Takes a port.
    ///
    /// # Panics
    /// If there is none.
    pub fn take() -> ClosedPort {
        // SAFETY: the address is a sockaddr_in, of the size that is given.
        unsafe {
            let socket = OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0));
            let mut address: libc::sockaddr_in = std::mem::zeroed();
            address.sin_family = libc::AF_INET as libc::sa_family_t;
            address.sin_addr.s_addr = u32::from(Ipv4Addr::LOCALHOST).to_be();
            let mut size = size_of_val(&address) as libc::socklen_t;
            assert_eq!(libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size), 0, "no port is free");
            libc::getsockname(socket.as_raw_fd(), (&raw mut address).cast(), &raw mut size);
            ClosedPort { _socket: socket, port: u16::from_be(address.sin_port) }
        }
    }

    /// The port's number.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// A nats-server, which ends with this value.
pub struct Broker {
    server: Child,
    port: u16,
    monitor: u16,
    /// Where its streams are, if it has any.
    store: Option<PathBuf>,
}

impl Broker {
    /// Starts a server on a free port and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub fn start() -> Broker {
        for _ in 0..5 {
            let free = TcpListener::bind(local(0)).and_then(|listener| listener.local_addr());
            // Another program may take the port in between; then there is another try.
            if let Some(broker) = Broker::start_on(free.expect("a free port").port()) {
                return broker;
            }
        }
        panic!("nats-server does not start; is the package nats-server installed?");
    }

    /// Starts a server with JetStream, likewise.
    ///
    /// # Panics
    /// If it does not.
    pub fn with_streams() -> Broker {
        for _ in 0..5 {
            let free = TcpListener::bind(local(0)).and_then(|listener| listener.local_addr());
            let port = free.expect("a free port").port();
            let store = std::env::temp_dir().join(format!("rgw_nats-host-{}-{port}", std::process::id()));
            if let Some(broker) = Broker::start_in(port, Some(store)) {
                return broker;
            }
        }
        panic!("nats-server does not start with JetStream");
    }

    /// Starts a server on a port and waits until it answers; `None` if it ends instead.
    pub fn start_on(port: u16) -> Option<Broker> {
        Broker::start_in(port, None)
    }

    fn start_in(port: u16, store: Option<PathBuf>) -> Option<Broker> {
        let program = if std::path::Path::new("/usr/sbin/nats-server").exists() {
            "/usr/sbin/nats-server"
        } else {
            "nats-server"
        };
        let free = TcpListener::bind(local(0)).and_then(|listener| listener.local_addr());
        let monitor = free.expect("a free port").port();
        let server = Command::new(program)
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-m", &monitor.to_string()])
            .args(store.iter().flat_map(|store| ["-js".as_ref(), "-sd".as_ref(), store.as_os_str()]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let mut broker = Broker { server, port, monitor, store };
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            if !matches!(broker.server.try_wait(), Ok(None)) {
                return None;
            }
            if TcpStream::connect(local(port)).is_ok() {
                return Some(broker);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many subscriptions it has, as its monitoring tells.
    ///
    /// # Panics
    /// If it does not.
    pub fn subscriptions(&self) -> u64 {
        let mut stream = TcpStream::connect(local(self.monitor)).expect("its monitoring");
        stream.set_read_timeout(Some(START)).expect("a time limit");
        stream.write_all(b"GET /subsz HTTP/1.0\r\n\r\n").expect("a question");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let number = text.split("\"num_subscriptions\":").nth(1).and_then(|rest| rest.split(',').next());
        number.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("no number in {text}"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        if let Some(store) = &self.store {
            let _ = std::fs::remove_dir_all(store);
        }
    }
}

/// A subscription, as bytes on a socket.
pub struct Subscriber {
    stream: BufReader<TcpStream>,
}

impl Subscriber {
    /// Subscribes; what is published from now on comes.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn on(port: u16, subject: &str) -> Subscriber {
        let stream = TcpStream::connect(local(port)).expect("a server");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
        let mut subscriber = Subscriber { stream: BufReader::new(stream) };
        subscriber.send(&format!("CONNECT {{\"verbose\":false}}\r\nSUB {subject} 1\r\nPING\r\n"));
        while subscriber.line().expect("an answer") != "PONG" {}
        subscriber
    }

    fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).expect("a server that reads");
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// The payload of the next message; `None` if none comes within `limit`.
    ///
    /// # Panics
    /// If the server says what is not expected.
    pub fn next(&mut self, limit: Duration) -> Option<Vec<u8>> {
        self.stream.get_ref().set_read_timeout(Some(limit)).expect("a time limit");
        loop {
            let line = match self.line() {
                Ok(line) => line,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
                Err(error) => panic!("the subscription broke: {error}"),
            };
            if line == "PING" {
                self.send("PONG\r\n");
            }
            let Some(message) = line.strip_prefix("MSG ") else { continue };
            let size = message.rsplit(' ').next().and_then(|size| size.parse::<usize>().ok()).expect("a size");
            let mut payload = vec![0; size + 2];
            self.stream.read_exact(&mut payload).expect("a payload");
            payload.truncate(size);
            return Some(payload);
        }
    }

    /// The payloads of all messages that come until `count` are there, and then for half a second more, so that one too
    /// many is seen. Gives up when none comes for 5 s.
    pub fn collect(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let limit = Duration::from_millis(if all.len() < count { 5_000 } else { 500 });
            let Some(payload) = self.next(limit) else { return all };
            all.push(String::from_utf8_lossy(&payload).into_owned());
        }
    }
}
