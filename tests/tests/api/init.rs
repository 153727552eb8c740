//! The server under an init system: the socket that it is handed, and what it tells.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use system_tests::api::ask;
use system_tests::oracle;
use system_tests::running::{Running, Signal};
use system_tests::world::TwoReleases as World;

#[test]
fn a_socket_that_systemd_hands_over_is_served_and_stays() {
    let test = "a_socket_that_systemd_hands_over_is_served_and_stays";
    let Some(activate) = oracle::find(test, "systemd-socket-activate") else {
        return;
    };
    let world = World::new();
    let socket = world.host.path("handed-over.sock");
    let serve = world.host.updog_command(&["serve", "--progress", "json"]);
    let mut command = Command::new(activate);
    command
        .arg("--listen")
        .arg(&socket)
        .arg(serve.get_program())
        .args(serve.get_args());
    let mut running = Running::start(&mut command);
    // It says in words of its own that it listens, and starts the program for the first connection.
    let listening = running.line().unwrap();
    assert!(listening.contains("Listening on"), "{listening}");
    let inode = std::fs::metadata(&socket).unwrap().ino();
    for _ in 0..2 {
        let os = ask(&socket, "GET", "/os", &[]).expect(200);
        assert_eq!(os.json()["version_id"], "1.0.0");
    }
    assert!(
        !world.host.path("api.sock").exists(),
        "the key socket_path does not count"
    );
    running.signal(Signal::TERM);
    while running.line().is_some() {}
    assert_eq!(
        std::fs::metadata(&socket).unwrap().ino(),
        inode,
        "it is systemd's"
    );
}

#[test]
fn the_init_system_is_told_of_readiness_of_life_and_of_the_end() {
    let world = World::new();
    let path = world.host.path("notify.sock");
    let notify = UnixDatagram::bind(&path).unwrap();
    notify
        .set_read_timeout(Some(Duration::from_secs(120)))
        .unwrap();
    let serve = world.host.updog_command(&["serve", "--progress", "json"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "WATCHDOG_PID=$$ exec \"$@\"", "sh"])
        .arg(serve.get_program())
        .args(serve.get_args())
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "100000");
    let running = Running::start(&mut command);
    let mut told = BTreeSet::new();
    let mut until = |wanted: &str| {
        while !told.contains(wanted) {
            let mut message = [0; 512];
            let length = notify.recv(&mut message).unwrap();
            let message = std::str::from_utf8(&message[..length]).unwrap();
            told.extend(message.lines().map(str::to_owned));
        }
    };
    until("READY=1");
    ask(&world.host.path("api.sock"), "GET", "/os", &[]).expect(200);
    until("WATCHDOG=1");
    running.signal(Signal::TERM);
    until("STOPPING=1");
    assert!(running.end().status.success());
}
