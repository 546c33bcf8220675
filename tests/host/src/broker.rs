//! NATS as far as these tests need it: a server, a port that has none, a subscriber.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
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
    /// What it writes: the numbers of its ports, and its streams if it has any.
    directory: PathBuf,
}

impl Broker {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub fn start() -> Broker {
        Broker::start_with(|_| Vec::new())
    }

    /// Starts a server with JetStream, likewise.
    ///
    /// # Panics
    /// If it does not.
    pub fn with_streams() -> Broker {
        Broker::start_with(|directory| vec!["-js".into(), "-sd".into(), directory.join("streams").into()])
    }

    /// The server takes its ports itself and tells them in a file. A port that is looked for beforehand may be another's
    /// by then; and to see whether somebody listens there proves nothing: it may be another test's server, or oneself, as
    /// a connection to a port of the range that connections are made from may meet itself.
    fn start_with(arguments: impl FnOnce(&Path) -> Vec<OsString>) -> Broker {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("rgw_nats-host-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let installed = Path::new("/usr/sbin/nats-server");
        let program = if installed.exists() { installed } else { Path::new("nats-server") };
        let server = Command::new(program)
            .args(["-a", "127.0.0.1", "-p", "-1", "-m", "-1", "--ports_file_dir"])
            .arg(&directory)
            .args(arguments(&directory))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; install the package nats-server", program.display()));
        let file = directory.join(format!("nats-server_{}.ports", server.id()));
        let mut broker = Broker { server, port: 0, monitor: 0, directory };
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            if let Some(status) = broker.server.try_wait().expect("its status") {
                panic!("nats-server ended instead of starting: {status}");
            }
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if let (Some(port), Some(monitor)) = (port_of(&text, "nats"), port_of(&text, "monitoring")) {
                (broker.port, broker.monitor) = (port, monitor);
                return broker;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("nats-server has not told its ports within {START:?}");
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
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The port of the first URL under `key` in a file of ports; `None` as long as that is not written.
fn port_of(text: &str, key: &str) -> Option<u16> {
    let urls = text.split(&format!("\"{key}\":[\"")).nth(1)?;
    urls.split('"').next()?.rsplit(':').next()?.parse().ok().filter(|_| text.ends_with('}'))
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
