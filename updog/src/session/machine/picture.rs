//! The machine as a picture and as a table, for ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};

use super::{Command, Effect, Facts, Offer, State, advance, plan};

impl Command {
    pub(super) const ALL: [Self; 5] = [
        Self::Prepare,
        Self::Update,
        Self::Apply,
        Self::Revert,
        Self::Rollback,
    ];
}

/// Every way from state to state, as a Mermaid diagram: the commands with the effects that lead
/// there, and what happens at a boot.
pub(super) fn picture() -> String {
    let mut edges = BTreeSet::new();
    for facts in Facts::every() {
        for command in Command::ALL {
            let Ok(effects) = plan(&facts, command) else {
                continue;
            };
            let end = effects
                .iter()
                .fold(facts, |facts, effect| advance(facts, *effect))
                .state;
            if end != facts.state || effects.contains(&Effect::ArmBack) {
                edges.insert((facts.state, end, command.to_string()));
            }
        }
    }
    edges.insert((
        State::Ready,
        State::Trial,
        "the boot loader takes the other set".into(),
    ));
    edges.insert((State::Trial, State::Idle, "it is marked successful".into()));
    edges.insert((
        State::Trial,
        State::Idle,
        "it does not come up: fallback".into(),
    ));
    let mut text = "stateDiagram-v2\n    [*] --> Idle\n".to_owned();
    for (from, to, why) in edges {
        writeln!(text, "    {from:?} --> {to:?}: {why}").unwrap();
    }
    text
}

/// What every command does in every state, as a Markdown table.
pub(super) fn table() -> String {
    let mut rows: BTreeMap<(Command, String, String), BTreeSet<State>> = BTreeMap::new();
    for facts in Facts::every() {
        for command in Command::ALL {
            let effects = match plan(&facts, command) {
                Ok(effects) if effects.is_empty() => "nothing to do".to_owned(),
                Ok(effects) => list(effects.iter()),
                Err(refusal) => format!("refused: {refusal}"),
            };
            let row = (command, facts.condition(command), effects);
            rows.entry(row).or_default().insert(facts.state);
        }
    }
    let mut text = "| command | in state | and if | effects |\n|---|---|---|---|\n".to_owned();
    for ((command, condition, effects), states) in rows {
        let states = list(states.iter());
        writeln!(text, "| `{command}` | {states} | {condition} | {effects} |").unwrap();
    }
    text
}

fn list<T: Debug>(items: impl Iterator<Item = T>) -> String {
    let names: Vec<String> = items.map(|item| format!("{item:?}")).collect();
    names.join(", ")
}

impl Facts {
    /// Every combination that a host can be in.
    pub(super) fn every() -> impl Iterator<Item = Self> {
        let both = || [false, true].into_iter();
        let offers = [
            Offer::Unknown,
            Offer::Nothing,
            Offer::Update,
            Offer::Written,
        ];
        State::ALL.into_iter().flat_map(move |state| {
            offers.into_iter().flat_map(move |offer| {
                both().flat_map(move |other_was_good| {
                    both().flat_map(move |other_is_verified| {
                        both().filter_map(move |is_rolling_back| {
                            let facts = Self {
                                state,
                                running_boots_next: matches!(state, State::Idle | State::Staged),
                                other_was_good,
                                is_rolling_back,
                                other_is_verified,
                                offer,
                            };
                            facts.is_possible().then_some(facts)
                        })
                    })
                })
            })
        })
    }

    fn is_possible(self) -> bool {
        // Only a set that boots next can be on the way back.
        let is_rolling_back =
            self.is_rolling_back && !matches!(self.state, State::Ready | State::Trial);
        let is_written =
            self.offer == Offer::Written && !matches!(self.state, State::Staged | State::Ready);
        !(is_rolling_back || is_written)
    }

    /// That part of the facts on which `command` depends, in words.
    fn condition(self, command: Command) -> String {
        let words = match (command, self.state) {
            (Command::Prepare | Command::Update, State::Trial)
            | (Command::Apply, State::Idle | State::Trial | State::Ready)
            | (Command::Revert, _) => "",
            (Command::Prepare | Command::Update | Command::Rollback, _) if self.is_rolling_back => {
                "a rollback is ready"
            }
            (Command::Prepare | Command::Update, _) => match self.offer {
                Offer::Unknown => "the repository was not asked yet",
                Offer::Nothing => "there is no update",
                Offer::Update => "there is an update",
                Offer::Written => "the other set holds it already",
            },
            (Command::Apply, State::Staged) if self.other_is_verified => {
                "the other set was verified in this boot"
            }
            (Command::Apply, State::Staged) => "it was verified in an earlier boot",
            (Command::Rollback, _) if self.other_was_good => "the other set was good",
            (Command::Rollback, _) => "the other set was never good",
        };
        words.to_owned()
    }
}
