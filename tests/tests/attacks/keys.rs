//! Who may sign: kinds of keys, thresholds, and keys that are not what they seem.

use serde_json::json;
use system_tests::forge::{Forge, Key, Role, Signers};

use crate::{World, bend};

fn with(role: Role, signers: &Signers) -> World {
    let mut all = Role::ALL.map(|role| (role, Signers::one()));
    for (of, place) in &mut all {
        if *of == role {
            *place = signers.clone();
        }
    }
    World::of(Forge::with(all.into(), true))
}

#[test]
fn every_kind_of_key_signs_every_role() {
    for key in [Key::ed25519, Key::rsa, Key::ecdsa] {
        let mut all = Role::ALL.map(|role| (role, Signers::one()));
        all[0].1 = Signers::all_of(vec![key(), Key::ecdsa()]);
        for (_, signers) in &mut all[1..] {
            *signers = Signers::all_of(vec![key()]);
        }
        let mut world = World::of(Forge::with(all.into(), true));
        world.forge.next_root().rotate(Role::Root).write();
        world.forge.publish(2);
        world.takes(2);
        for (role, version) in Role::ONLINE.into_iter().zip(3..) {
            let release = world.forge.release(version);
            release
                .tamper(role, |document| bend(&mut document["signatures"][0]["sig"]))
                .write();
            world.refuses_after_keeping(&role.to_string());
        }
        world.forge.publish(6);
        world.takes(6);
    }
}

/// Signatures that do not make the threshold of two, for each role.
#[test]
fn a_threshold_is_met_by_so_many_different_keys_of_the_role_only() {
    for role in Role::ONLINE {
        let keys = vec![Key::ed25519(), Key::ecdsa(), Key::ed25519()];
        let world = with(
            role,
            &Signers {
                keys: keys.clone(),
                threshold: 2,
            },
        );
        let stranger = Key::ed25519();
        let of_root = world.forge.keys(Role::Root)[0].clone();
        let short = [
            vec![],
            vec![keys[0].clone()],
            vec![keys[0].clone(), keys[0].clone()],
            vec![keys[1].clone(), keys[1].clone(), keys[1].clone()],
            vec![keys[0].clone(), stranger],
            vec![keys[0].clone(), of_root],
            vec![keys[0].clone(), keys[0].under_another_id()],
        ];
        for (signers, version) in short.iter().zip(2..) {
            world
                .forge
                .release(version)
                .signed_by(role, signers)
                .write();
            world.refuses_after_keeping(&role.to_string());
            assert_eq!(world.kept_version(role), 1, "{signers:?}");
        }
        // A bad signature beside enough good ones does no harm.
        let release = world.forge.release(10);
        release
            .tamper(role, |document| bend(&mut document["signatures"][1]["sig"]))
            .write();
        world.takes(10);
        world.forge.release(11).signed_by(role, &keys[1..]).write();
        world.takes(11);
    }
}

#[test]
fn a_signature_under_the_name_of_another_key_counts_for_nobody() {
    let keys = vec![Key::ed25519(), Key::ed25519()];
    let world = with(Role::Timestamp, &Signers::all_of(keys.clone()));
    let release = world
        .forge
        .release(2)
        .signed_by(Role::Timestamp, &[keys[0].clone(), keys[0].clone()]);
    let other = keys[1].id().to_owned();
    release
        .tamper(Role::Timestamp, move |document| {
            document["signatures"][1]["keyid"] = json!(other);
        })
        .write();
    world.refuses("timestamp");
}

#[test]
fn one_key_under_two_ids_does_not_make_two() {
    for key in [Key::ed25519(), Key::rsa(), Key::ecdsa()] {
        let mut world = World::new();
        let twice = Signers::all_of(vec![key.clone(), key.under_another_id()]);
        for role in Role::ALL {
            world
                .forge
                .next_root()
                .signers(role, twice.clone())
                .write_only();
            world.refuses("2");
            assert!(!world.kept().contains_key("roots/2.root.json"));
        }
        world.forge.next_root().write();
        world.takes(1);
    }
}

#[test]
fn a_key_under_an_id_that_is_not_its_own_is_refused() {
    let mut world = World::new();
    world
        .forge
        .next_root()
        .edit(|root| {
            let keys = root["keys"].as_object_mut().unwrap();
            let (id, key) = keys.clone().into_iter().next().unwrap();
            keys.remove(&id);
            let first = if id.starts_with('0') { '1' } else { '0' };
            let other = format!("{first}{}", &id[1..]);
            keys.insert(other.clone(), key);
            let text = root
                .to_string()
                .replace(&format!("\"{id}\""), &format!("\"{other}\""));
            *root = serde_json::from_str(&text).unwrap();
        })
        .write_only();
    world.refuses("root");
}

#[test]
fn a_root_with_an_unknown_kind_of_key_is_refused_and_the_kind_is_named() {
    let mut world = World::new();
    for (keytype, scheme) in [
        ("sphincs", "sphincs-shake-128s"),
        ("rsa", "rsa-pkcs1v15-sha256"),
    ] {
        world
            .forge
            .next_root()
            .edit(move |root| {
                let key = json!({"keytype": keytype, "scheme": scheme, "keyval": {"public": "00"}});
                let id = system_tests::forge::key::id_of(&key);
                root["keys"][id] = key;
            })
            .write_only();
        world.refuses(keytype).says(scheme);
    }
    world.forge.next_root().write();
    world.takes(1);
}

#[test]
fn a_root_without_keys_for_a_role_or_with_a_threshold_of_none_is_refused() {
    let mut world = World::new();
    for role in Role::ALL {
        let name = role.to_string();
        world
            .forge
            .next_root()
            .edit(move |root| root["roles"][name]["threshold"] = json!(0))
            .write_only();
        world.refuses("root");
    }
    let name = Role::Timestamp.to_string();
    world
        .forge
        .next_root()
        .edit(move |root| {
            root["roles"].as_object_mut().unwrap().remove(&name);
        })
        .write();
    world.forge.publish(2);
    world.refuses_after_keeping("timestamp");
}

#[test]
fn a_root_with_one_key_twice_is_passed_over_once_a_good_one_follows() {
    let key = Key::ed25519();
    let twice = Signers::all_of(vec![key.clone(), key.under_another_id()]);
    let mut world = World::new();
    world
        .forge
        .next_root()
        .signers(Role::Targets, twice.clone())
        .write();
    world.refuses("one key under two ids");
    world
        .forge
        .next_root()
        .signers(Role::Targets, Signers::one())
        .write();
    world.forge.publish(2);
    world.takes(2);

    // Not if these two signed the good one.
    let mut world = World::new();
    world.forge.next_root().signers(Role::Root, twice).write();
    world
        .forge
        .next_root()
        .signers(Role::Root, Signers::one())
        .write();
    world.forge.publish(2);
    world.refuses("one key under two ids");
}
