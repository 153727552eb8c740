//! A forward proxy on loopback that opens tunnels (HTTP CONNECT), all of them to one address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// A request for a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// `HOST:PORT` as the client asked for it.
    pub to: String,
    /// The value of `Proxy-Authorization`.
    pub authorization: Option<String>,
}

/// A running proxy. It ends with the process.
pub struct Proxy {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Tunnel>>>,
}

impl Proxy {
    /// Every tunnel leads to `destination`, whatever was asked for.
    ///
    /// # Panics
    /// When no socket can be had.
    pub fn start(destination: SocketAddr) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = seen.clone();
        let (sender, receiver) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
                sender
                    .send(listener.local_addr().expect("an address"))
                    .expect("whoever started us waits");
                loop {
                    if let Ok((client, _)) = listener.accept().await {
                        tokio::spawn(tunnel(client, destination, shared.clone()));
                    }
                }
            });
        });
        let address = receiver
            .recv()
            .expect("the proxy's thread sends its address");
        Self { address, seen }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The tunnels so far; forgets them.
    pub fn seen(&self) -> Vec<Tunnel> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One connection; a client that goes away ends it.
async fn tunnel(client: TcpStream, destination: SocketAddr, seen: Arc<Mutex<Vec<Tunnel>>>) {
    let mut client = BufReader::new(client);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        match client.read_line(&mut line).await {
            Ok(length) if length > 0 => {}
            _ => return,
        }
        match line.trim_end() {
            "" => break,
            text => head.push(text.to_owned()),
        }
    }
    let to = head
        .first()
        .and_then(|line| line.strip_prefix("CONNECT ")?.split(' ').next())
        .unwrap_or("no tunnel")
        .to_owned();
    let authorization = head.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("proxy-authorization")
            .then(|| value.trim().to_owned())
    });
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Tunnel { to, authorization });
    let Ok(mut server) = TcpStream::connect(destination).await else {
        return;
    };
    if client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
