//! The usual beginning of a story: two releases, their web server, and a host.

use std::sync::mpsc::{Receiver, Sender, channel};

use crate::host::Host;
use crate::publisher::{Images, Publisher};
use crate::server::Server;

/// A publisher with 1.0.0 and 1.1.0, its web server, and a host that runs 1.0.0 from set A.
pub struct TwoReleases {
    /// Who releases.
    pub publisher: Publisher,
    /// What serves it.
    pub server: Server,
    /// The host, fresh from the factory.
    pub host: Host,
    /// The images of 1.1.0.
    pub new: Images,
}

impl TwoReleases {
    /// With small images.
    ///
    /// # Panics
    /// When `updata` fails.
    #[allow(clippy::new_without_default)] // it runs programs and makes files
    pub fn new() -> Self {
        let publisher = Publisher::new();
        let old = publisher.release("1.0.0");
        let new = publisher.release("1.1.0");
        let server = Server::start(&publisher.repo());
        let host = Host::new(&publisher, "1.0.0", &old, &server.url());
        Self {
            publisher,
            server,
            host,
            new,
        }
    }
    /// Has the server hold back the root image of 1.1.0, with everything that is asked for after it,
    /// until the sender sends or is dropped. The receiver tells that it was asked for.
    ///
    /// # Panics
    /// In the server, when nobody listens any more.
    pub fn hold_back_root_image(&self) -> (Receiver<()>, Sender<()>) {
        let (asked, is_asked) = channel();
        let (go_on, told) = channel::<()>();
        self.server.when("root.ext4", move || {
            asked.send(()).expect("a test that waits for it");
            let _ = told.recv();
        });
        (is_asked, go_on)
    }
}
