//! A clock that is wrong, or was.

use system_tests::forge::Role;
use system_tests::programs::Ran;

use crate::World;

fn warns(ran: Ran) -> Ran {
    ran.says("WARN").says("clock")
}

#[test]
fn expiry_is_judged_at_the_time_of_the_run() {
    let world = World::new();
    world
        .forge
        .release(2)
        .expires(Role::Targets, "2031-03-01T12:00:00Z")
        .write();
    let ran = world.at("2031-03-01T11:59:59Z").done();
    assert!(!ran.stderr.contains("WARN"), "{}", ran.stderr);
    let ran = world.at("2031-03-01T12:00:00Z").expect(1);
    ran.says("expired at 2031-03-01T12:00:00Z")
        .says("it is 2031-03-01T12:00:00Z here");
}

#[test]
fn a_clock_before_the_build_is_judged_as_the_build_with_a_warning() {
    let world = World::new();
    let build = updog::clock::now().to_rfc3339();
    for time in [
        "1970-01-01T00:00:00Z",
        "2001-01-01T00:00:00Z",
        "2020-01-01T00:00:00Z",
    ] {
        let ran = warns(world.at(time).done());
        assert!(ran.stdout.contains("1.1.0"), "{}", ran.stdout);
    }
    // Long over whatever the clock says; the build was later.
    world
        .forge
        .release(2)
        .expires(Role::Timestamp, "2020-06-01T00:00:00Z")
        .write();
    warns(world.at("2020-01-01T00:00:00Z").expect(1)).says("expired at 2020-06-01T00:00:00Z");
    world.forge.publish(3);
    let ran = world.at(&build).done();
    assert!(!ran.stderr.contains("WARN"), "{}", ran.stderr);
}

#[test]
fn a_clock_behind_the_last_refresh_is_believed_with_a_warning() {
    let world = World::new();
    world.forge.publish(2);
    world.at("2031-06-01T00:00:00Z").done();
    warns(world.at("2031-01-01T00:00:00Z").done()).says("went back");
    // The publisher has shortened what is valid since: no reason to lock anybody out.
    world
        .forge
        .release(3)
        .expires(Role::Timestamp, "2031-03-01T00:00:00Z")
        .write();
    let ran = world.at("2031-01-01T00:00:00Z").done();
    assert!(ran.stdout.contains("1.3.0"), "{}", ran.stdout);
    world.forge.publish(4);
    let ran = world.at("2031-06-01T00:00:01Z").done();
    assert!(!ran.stderr.contains("WARN"), "{}", ran.stderr);
}

#[test]
fn a_clock_that_was_ahead_once_never_makes_a_later_run_fail() {
    let world = World::new();
    // Ahead, past the end of everything: refused, and nothing of that time is remembered.
    world
        .forge
        .release(2)
        .expires(Role::Timestamp, "2031-12-01T00:00:00Z")
        .write();
    world.at("2090-01-01T00:00:00Z").expect(1).says("expired");
    let ran = world.at("2031-01-01T00:00:00Z").done();
    assert!(!ran.stderr.contains("WARN"), "{}", ran.stderr);
    // Ahead by less than metadata are valid: remembered, and the same repository still works.
    world.at("2031-11-30T00:00:00Z").done();
    warns(world.at("2031-01-02T00:00:00Z").done());
    world.forge.publish(3);
    world.at("2031-01-03T00:00:00Z").done();
}
