//! `revert_in_message`: the user asks in words to take work back.

use trace::What;

use crate::rules::moment::Retreat;
use crate::rules::words::lower;
use crate::rules::{Finding, Moment, Scope, descriptor};

descriptor! {
    /// The user asks in words to take the agent's work back.
    REVERT_IN_MESSAGE = "revert_in_message", Friction, 0.5, Moment;
    trigger: "A sentence of the user that begins (after words such as \"no, please\") by asking to undo, revert, roll back, go back, restore or take out what was done: a whole phrase such as \"undo that\" or \"go back to the previous\", never a word within a description.",
    threshold: "One per message; only after the agent has done or said something.",
    grading: "Confidence 0.8: words can mean something else.",
    evidence: "`phrase`, `message` (its beginning).",
}

pub(super) fn feed(moment: &Moment<'_>, scope: &mut Scope<'_>) {
    let (What::UserSpoke { text }, Some(Retreat::Message(phrase))) = (&moment.fact.what, moment.retreat)
    else {
        return;
    };
    let finding = Finding::at(moment.fact)
        .confidence(0.8)
        .describe(&format!("The user asked to take work back: {text}"))
        .with("phrase", phrase)
        .with("message", *text);
    scope.raise(&REVERT_IN_MESSAGE, finding);
}

/// Words that may stand before the request.
const LEAD_IN: &[&str] = &[
    "no", "nope", "ok", "okay", "wait", "stop", "actually", "hmm", "hm", "sorry", "please", "pls", "now",
    "just", "and", "so", "but", "then", "well", "oh", "ugh", "hey", "can", "could", "would", "you", "lets",
    "let's", "let", "us", "i", "want", "need", "to", "first", "i'd", "like", "must", "should", "we", "also",
];

/// What a request to take work back begins with; whole words.
const PHRASES: &[&str] = &[
    "undo that",
    "undo this",
    "undo it",
    "undo the",
    "undo your",
    "undo my",
    "undo these",
    "undo those",
    "undo all",
    "undo everything",
    "undo what",
    "undo last",
    "revert that",
    "revert this",
    "revert it",
    "revert the",
    "revert your",
    "revert these",
    "revert those",
    "revert all",
    "revert everything",
    "revert what",
    "revert last",
    "revert back",
    "revert to",
    "roll back",
    "roll that back",
    "roll it back",
    "roll this back",
    "rollback that",
    "rollback this",
    "rollback the",
    "rollback your",
    "rollback to",
    "go back to the previous",
    "go back to the original",
    "go back to the old",
    "go back to the last",
    "go back to the first",
    "go back to how",
    "go back to what",
    "go back to where",
    "go back to before",
    "go back to your",
    "go back one",
    "go back a step",
    "put it back",
    "put that back",
    "put everything back",
    "change it back",
    "change that back",
    "change everything back",
    "bring back the old",
    "bring back the previous",
    "back out of",
    "back that out",
    "back it out",
    "restore the original",
    "restore the previous",
    "restore the old",
    "restore what",
    "delete that",
    "delete what you",
    "delete everything you",
    "remove that",
    "remove what you",
    "remove everything you",
    "take that out",
    "take it out again",
    "throw that away",
    "throw it away",
    "discard that",
    "discard your",
    "discard these",
    "discard those",
    "discard the changes",
    "discard all",
    "cancel that",
    "scrap that",
    "start over",
    "start again from scratch",
    "never mind that",
];

/// Phrases that ask so only if nothing but a few words follow: alone they stand in too many descriptions.
const ALONE: &[&str] = &["undo", "revert", "rollback", "go back", "cancel", "put back"];

/// The phrase by which a message asks to take work back.
pub(crate) fn reverting_phrase(message: &str) -> Option<&'static str> {
    let message = lower(message);
    let mut fenced = false;
    for line in message.lines() {
        // Code that the user shows is nothing that he says, and a quotation is somebody else's words.
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced && !line.trim_start().starts_with('>') {
            let found = line.split(['.', '!', '?', ';', ':', '(', '—']).find_map(phrase_of);
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

fn phrase_of(sentence: &str) -> Option<&'static str> {
    let mut words = sentence
        .split(|char: char| char.is_whitespace() || char == ',')
        .map(|word| word.trim_matches(|char: char| !char.is_alphanumeric()))
        .filter(|word| !word.is_empty())
        .skip_while(|word| LEAD_IN.contains(word))
        .take(16);
    // Nearly every sentence is ruled out by its first word.
    let first = words.next().filter(|first| may_begin(first))?;
    let words: Vec<_> = std::iter::once(first).chain(words).collect();
    let begins_with = |phrase: &&&str| {
        let mut wanted = phrase.split(' ');
        let mut given = words.iter();
        wanted.all(|word| given.next() == Some(&word))
    };
    PHRASES
        .iter()
        .find(begins_with)
        .copied()
        .or_else(|| ALONE.iter().find(|phrase| begins_with(phrase) && is_all(&words, phrase)).copied())
}

/// Whether a phrase begins with this word.
fn may_begin(word: &str) -> bool {
    matches!(
        word,
        "back"
            | "bring"
            | "cancel"
            | "change"
            | "delete"
            | "discard"
            | "go"
            | "never"
            | "put"
            | "remove"
            | "restore"
            | "revert"
            | "roll"
            | "rollback"
            | "scrap"
            | "start"
            | "take"
            | "throw"
            | "undo"
    )
}

/// Whether nothing follows the phrase that would make it a description.
fn is_all(words: &[&str], phrase: &str) -> bool {
    let rest = words.get(phrase.split(' ').count()..).unwrap_or_default();
    rest.iter().all(|word| matches!(*word, "please" | "now" | "again" | "all" | "thanks"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::{ALONE, PHRASES, may_begin, reverting_phrase};
    use crate::rules::story::Story;

    #[test]
    fn no_phrase_is_ruled_out_by_its_first_word() {
        for phrase in PHRASES.iter().chain(ALONE) {
            assert!(phrase.split(' ').next().is_some_and(may_begin), "{phrase}");
        }
    }

    #[test]
    fn requests_to_take_work_back_are_found() {
        for message in [
            "undo that",
            "No, please revert the last change.",
            "Hmm. Undo it!",
            "Could you roll back to yesterday's version?",
            "ok wait, go back to the previous approach",
            "This is wrong; let's start over",
            "Undo",
            "no - revert please",
            "I want you to delete that",
            "Cancel that, I changed my mind",
        ] {
            assert!(reverting_phrase(message).is_some(), "{message}");
        }
    }

    #[test]
    fn features_that_are_called_so_are_none() {
        for message in [
            "Add a cancel button to the form",
            "Let the user cancel an order, and undo the cancellation within a minute",
            "cancel pending requests when the page closes",
            "Implement undo and redo",
            "Undo should bring the cursor home",
            "When the import fails, revert the transaction",
            "The button `Go back` leads nowhere",
            "go back button is missing",
            "Write a migration that can be rolled back",
            "Please remove the unused imports",
            "```\nundo that\n```\nwhat does this print?",
            "> revert the change\nis what he wrote",
            "irreversible, undoable",
            "",
        ] {
            assert_eq!(reverting_phrase(message), None, "{message}");
        }
    }

    #[test]
    fn the_first_task_of_a_session_takes_nothing_of_the_agents_back() {
        let mut story = Story::new();
        story.says("Revert the last commit");
        story.none("revert_in_message");
        story.agent_says("done").says("Revert the last commit");
        assert_eq!(story.only("revert_in_message").evidence["phrase"], "revert the");
    }
}
