//! `updog serve`: HTTP/1.1 on a Unix socket, for whoever may open it.
//!
//! Whoever is connected can ask slowly, too much, or not at all: headers, bodies, answers that nobody
//! reads and connections that stand idle have an end, and their number has a limit. Root's connections
//! are counted apart, so that nobody keeps root out.

mod actions;
mod answer;
mod documents;
mod events;
mod metrics;
mod peer;
mod preferred;
mod reads;
mod router;
mod socket;
mod turns;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use snafu::{ResultExt, Snafu};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Builder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_io_timeout::TimeoutStream;

use self::peer::Peer;
use self::router::Api;
pub use self::socket::SocketError;
use super::engine::Engine;
use crate::cancel::Cancel;
use crate::config::{Config, ConfigError};
use crate::event::{Observer, Unobserved};
use crate::exit::chain;

/// How long a request's head may take, also the next one of a connection that stays open.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may stand still because nobody reads it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections at once, of root; and as many of everybody else together.
const MAX_CONNECTIONS: usize = 128;
/// The least that a connection buffers of a head; a longer head is refused.
const HEAD_BYTES: usize = 16 << 10;
/// What [`exchange`] may have under way in either direction.
const MAX_EXCHANGE: usize = 1 << 20;
/// How long answers under way are waited for at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// How long the next connection is not taken after one could not be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no server.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum ServeError {
    /// There is no usable configuration.
    #[snafu(transparent)]
    Config { source: ConfigError },
    /// The socket cannot be had.
    #[snafu(transparent)]
    Socket { source: SocketError },
    /// There is no runtime.
    #[snafu(display("starting the server"))]
    Start { source: io::Error },
}

impl ServeError {
    /// What the operator can do next, where that is known.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Socket {
                source: SocketError::Served { .. },
            } => Some(
                "an API server of the image may own it; thar-be-updates lets that one use this engine",
            ),
            Self::Socket {
                source: SocketError::NoGroup { .. },
            } => Some("make the group, or name another one with the key socket_group"),
            _ => None,
        }
    }
}

/// Serves the host that `config` describes until `cancel` says to stop; a command that is under way
/// then ends at the next safe point. Everything that happens is told to `log`.
///
/// # Errors
/// [`ServeError`]. Nothing was served then.
pub fn serve(config: PathBuf, cancel: &Cancel, log: Arc<dyn Observer>) -> Result<(), ServeError> {
    let settings = Config::load(&config)?.socket;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context(StartSnafu)?;
    let served = runtime.block_on(async {
        let socket = socket::open(&settings)?;
        let engine = Arc::new(Engine::new(config, log));
        run(&socket.listener, &engine, cancel).await;
        // From here on nobody can connect.
        drop(socket);
        wait_for_end(&engine).await;
        Ok(())
    });
    // A look-up that hangs holds up nobody.
    runtime.shutdown_background();
    served
}

/// What is answered to `request` on a connection of its own, as to root, by a server whose configuration
/// is at `config`. Streams end at once. For tests: no socket is needed.
///
/// # Errors
/// [`ServeError::Start`].
pub fn exchange(config: PathBuf, request: &[u8]) -> Result<Vec<u8>, ServeError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context(StartSnafu)?;
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(MAX_EXCHANGE);
        let engine = Arc::new(Engine::new(config, Arc::new(Unobserved)));
        let (_stop, stopping) = watch::channel(true);
        let router = router::router(Arc::new(Api::new(engine, stopping)));
        let service = TowerToHyperService::new(router.layer(Extension(Peer::ROOT)));
        let connection = http().serve_connection(TokioIo::new(server), service);
        let ask = async {
            let mut answer = Vec::new();
            client.write_all(request).await?;
            client.shutdown().await?;
            client.read_to_end(&mut answer).await?;
            Ok(answer)
        };
        // Who is answered is answered, however the connection ends.
        let (_, answer) = futures::future::join(connection, ask).await;
        answer.context(StartSnafu)
    })
}

/// How connections are served.
fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES);
    http
}

async fn run(listener: &UnixListener, engine: &Arc<Engine>, cancel: &Cancel) {
    let (stop, stopping) = watch::channel(false);
    let router = router::router(Arc::new(Api::new(engine.clone(), stopping)));
    let graceful = GracefulShutdown::new();
    let guests = Guests::new();
    let watchdog = tokio::spawn(watchdog(engine.clone()));
    tell_init(&[sd_notify::NotifyState::Ready]);
    tracing::info!("serving");
    loop {
        let stream = match cancel.unless(listener.accept()).await {
            Err(cancelled) => {
                engine.stop();
                tracing::info!("{cancelled}; a command under way ends at the next safe point");
                break;
            }
            Ok(Ok((stream, _))) => stream,
            Ok(Err(error)) => {
                tracing::warn!("a connection could not be taken: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match Peer::of(&stream) {
            Ok(peer) => serve_peer(stream, peer, &guests, &router, &graceful),
            Err(error) => tracing::warn!("who connects is not known: {error}"),
        }
    }
    tell_init(&[sd_notify::NotifyState::Stopping]);
    watchdog.abort();
    stop.send_replace(true);
    if tokio::time::timeout(LAST_ANSWERS, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::debug!("some answers were not read to their end");
    }
}

/// Serves one connection, beside all others.
fn serve_peer(
    stream: UnixStream,
    peer: Peer,
    guests: &Guests,
    router: &Router,
    graceful: &GracefulShutdown,
) {
    let Some(place) = guests.place(peer) else {
        // Said once, or a crowd would fill the log.
        if !guests.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "{peer} was turned away, as others may be: there are {MAX_CONNECTIONS} connections already"
            );
        }
        return;
    };
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let service = TowerToHyperService::new(router.clone().layer(Extension(peer)));
    let connection = http().serve_connection(TokioIo::new(Box::pin(stream)), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("{peer}: {}", chain(&error));
        }
        drop(place);
    });
}

/// Places for connections.
struct Guests {
    root: Arc<Semaphore>,
    others: Arc<Semaphore>,
    /// Whether it was said that somebody was turned away.
    is_told: AtomicBool,
}

impl Guests {
    fn new() -> Self {
        let places = || Arc::new(Semaphore::new(MAX_CONNECTIONS));
        Self {
            root: places(),
            others: places(),
            is_told: AtomicBool::new(false),
        }
    }

    fn place(&self, peer: Peer) -> Option<OwnedSemaphorePermit> {
        let places = if peer.is_root() {
            &self.root
        } else {
            &self.others
        };
        if places.available_permits() == MAX_CONNECTIONS {
            self.is_told.store(false, Ordering::Relaxed);
        }
        places.clone().try_acquire_owned().ok()
    }
}

/// The command under way writes to the disk; it says itself when it can stop.
async fn wait_for_end(engine: &Engine) {
    const LOOK: Duration = Duration::from_millis(20);
    while !engine.is_idle() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Tells systemd, if it asks for it, that requests are still answered.
async fn watchdog(engine: Arc<Engine>) {
    let mut period = 0;
    if !sd_notify::watchdog_enabled(false, &mut period) {
        return;
    }
    let half = Duration::from_micros(period / 2);
    loop {
        tokio::time::sleep(half).await;
        // It waits for the lock that every request needs.
        let engine = engine.clone();
        if tokio::task::spawn_blocking(move || engine.is_idle())
            .await
            .is_ok()
        {
            tell_init(&[sd_notify::NotifyState::Watchdog]);
        }
    }
}

fn tell_init(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::warn!("the init system was not told: {error}");
    }
}
