//! Updates that were interrupted: the next one goes on with what is right on the disk.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::mpsc;

use system_tests::host::Host;
use system_tests::publisher::{Publisher, noise};
use system_tests::running::{Running, Signal, send};
use system_tests::server::{Fault, Server};

use crate::{BLOCK, World, new_root, root_file};

#[test]
fn an_interrupted_update_goes_on_where_it_stopped() {
    let world = World::new();
    world.fails_half_way();
    world.update().done();
    world.expect_new();
    let (bytes, _) = World::fetched(&world.server.seen());
    // A MiB or so of the root image was on the disk; the boot image was not.
    assert!(bytes < 1_100_000, "{bytes}");
}

#[test]
fn a_newer_version_keeps_what_fits_of_the_half_written_one() {
    let world = World::new();
    world.fails_half_way();
    let mut root = new_root(30);
    root[120 * BLOCK..130 * BLOCK].copy_from_slice(&noise("newer", 10 * BLOCK));
    let images = world.publisher.images_of("1.2.0", &root);
    world.publisher.release_with("1.2.0", &images, &[]).done();
    let ran = world.update().done();
    assert_eq!(ran.stdout, "updated to demo 1.2.0\n");
    let (bytes, _) = World::fetched(&world.server.seen());
    // Ten blocks more than to finish 1.1.0, in a frame or two.
    assert!(bytes < 1_300_000, "{bytes}");
    assert!(world.host.partition("B", "root").starts_with(&root));
    world.host.updog(&["verify"]).done();
}

#[test]
fn what_is_all_there_is_not_fetched_again() {
    let world = World::new();
    world.update().done();
    world.host.signpost(&["clear-inactive"]).done();
    world.server.seen();
    world.update().done().says("0 B fetched");
    world.expect_new();
    assert_eq!(World::fetched(&world.server.seen()), (0, 0));
}

/// Killed when so many bytes of the root image have come, and run again: both together fetch hardly more
/// than one run that nothing happens to.
#[test]
fn wherever_an_update_is_killed_the_next_one_fetches_the_rest() {
    const BLOCKS: usize = 16 << 10;
    let publisher = Publisher::new();
    let [old, new] = [
        ("1.0.0", vec![0; BLOCKS * BLOCK]),
        ("1.1.0", noise("large", BLOCKS * BLOCK)),
    ]
    .map(|(version, root)| {
        let images = publisher.images_of(version, &root);
        publisher.release_with(version, &images, &[]).done();
        images
    });
    let server = Server::start(&publisher.repo());
    let host = Host::new(&publisher, "1.0.0", &old, &server.url());
    host.updog(&["update"]).done();
    let (clean, _) = World::fetched(&server.seen());
    let image = std::fs::metadata(&new.root).unwrap().len();
    assert!(clean > image, "noise does not compress");

    let root = root_file(&publisher);
    let wiped = noise("wiped", BLOCKS * BLOCK);
    for eighth in 1..8 {
        host.signpost(&["clear-inactive"]).done();
        host.overwrite("B", "root", &wiped);
        let came = usize::try_from(clean).unwrap() / 8 * eighth + 4321 * eighth;
        server.fault(&root, Fault::DropAfter(came), 1);
        let (sender, receiver) = mpsc::channel();
        server.when(&root, || {});
        // What comes next is the request for the rest.
        server.when(&root, move || send(receiver.recv().unwrap(), Signal::KILL));
        let running = Running::start(&mut host.updog_command(&["--progress", "json", "update"]));
        sender.send(running.pid()).unwrap();
        assert_eq!(running.end().status.signal(), Some(Signal::KILL.as_raw()));
        assert_eq!(host.next(), "A");
        server.seen();

        host.updog(&["update"]).done();
        let (rest, _) = World::fetched(&server.seen());
        let both = u64::try_from(came).unwrap() + rest;
        assert!(both <= clean + clean / 10, "{both} instead of {clean}");
        host.updog(&["verify"]).done();
    }
}
