//! A repository that another publisher's program might have made: any names for its targets.

use std::fs;
use std::num::NonZeroU64;
use std::path::Path;

use tough::editor::RepositoryEditor;
use tough::key_source::{KeySource, LocalKeySource};
use tough::schema::Target;

use crate::publisher::Publisher;

/// Signs the targets `names`, all with the content `bytes`, with the keys of `publisher`, and writes
/// the metadata to `dir`. No target is written: where they lie is what tests are about.
///
/// # Panics
/// When it cannot be signed or written.
pub fn sign(publisher: &Publisher, dir: &Path, names: &[&str], bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let content = dir.with_extension("content");
    fs::create_dir_all(dir).expect("a folder");
    fs::write(&content, bytes).expect("a file");
    let keys: Vec<Box<dyn KeySource>> = ["targets", "snapshot", "timestamp"]
        .map(|role| {
            let path = publisher.path("keys").join(format!("{role}.key"));
            Box::new(LocalKeySource { path }) as Box<dyn KeySource>
        })
        .into();
    let one = NonZeroU64::MIN;
    let until = jiff::Timestamp::from_second((updog::clock::now().timestamp()) + 86_400)
        .expect("a day from now");
    runtime.block_on(async {
        let target = Target::from_path(&content).await.expect("a target");
        let mut editor = RepositoryEditor::new(publisher.path("root.json"))
            .await
            .expect("a root");
        for name in names {
            editor
                .add_target(*name, target.clone())
                .expect("a name that tough accepts");
        }
        editor
            .targets_version(one)
            .and_then(|editor| editor.targets_expires(until))
            .expect("targets")
            .snapshot_version(one)
            .snapshot_expires(until)
            .timestamp_version(one)
            .timestamp_expires(until);
        let signed = editor.sign(&keys).await.expect("all keys");
        signed.write(dir).await.expect("metadata");
    });
}
