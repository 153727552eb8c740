//! A document as it is written.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    /// Judged before; here so that it is a known field.
    #[serde(rename = "format")]
    _format: u32,
    pub(super) variants: Option<Vec<String>>,
    #[serde(default)]
    pub(super) step: Vec<Step>,
}

/// Exactly one of the operations is there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Step {
    pub(super) variants: Option<Vec<String>>,
    pub(super) add: Option<Add>,
    pub(super) remove: Option<Remove>,
    pub(super) rename: Option<Rename>,
    pub(super) replace: Option<Replace>,
    pub(super) replace_in_list: Option<Replace>,
    pub(super) add_metadata: Option<AddMetadata>,
    pub(super) remove_metadata: Option<RemoveMetadata>,
    pub(super) replace_metadata: Option<ReplaceMetadata>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Add {
    #[serde(default)]
    pub(super) settings: Vec<String>,
    #[serde(default)]
    pub(super) prefixes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Remove {
    pub(super) settings: Vec<String>,
    pub(super) if_equals: Option<toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Rename {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) if_equals: Option<toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replace {
    pub(super) setting: String,
    pub(super) old: toml::Value,
    pub(super) new: toml::Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddMetadata {
    pub(super) setting: String,
    pub(super) metadata: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RemoveMetadata {
    pub(super) setting: String,
    pub(super) metadata: Vec<String>,
    pub(super) if_equals: Option<toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplaceMetadata {
    pub(super) setting: String,
    pub(super) metadata: String,
    pub(super) old: toml::Value,
    pub(super) new: toml::Value,
}
