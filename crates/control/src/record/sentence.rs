//! An event as a sentence for people.

use std::collections::BTreeMap;

/// What a sentence is made of.
pub(crate) struct Told<'a> {
    pub(crate) kind: &'a str,
    pub(crate) actor: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) details: &'a BTreeMap<String, String>,
}

/// Tells an event in one sentence.
pub(crate) fn sentence(told: &Told<'_>) -> String {
    let Told { actor, subject, .. } = *told;
    let detail = |name: &str| told.details.get(name).map_or("", String::as_str);
    let reason = match detail("reason") {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    match told.kind {
        "system.started" => format!("{actor} started"),
        "system.stopped" => format!("{actor} stopped"),
        "data.restored" => restored(&detail),
        "backup.made" => format!("{actor} made a backup"),
        "device.added" => {
            format!("{actor} added {subject} ({}) to {}", detail("kind"), detail("zone"))
        }
        "device.changed" => format!("{actor} changed {} of {subject}", detail("what")),
        "device.enrolled" => {
            format!("{subject} enrolled and holds certificate {}", detail("serial"))
        }
        "device.connected" => format!("{subject} connected with {}", detail("protocol")),
        "device.disconnected" => format!("{subject} disconnected{reason}"),
        "device.revoked" => format!(
            "{actor} revoked {subject}{reason}; {} certificate{} no longer counts",
            detail("certificates"),
            if detail("certificates") == "1" { "" } else { "s" }
        ),
        "device.quarantined" => format!("{actor} cut off {subject}{reason}"),
        "device.recovered" => format!("{actor} let {subject} back in{reason}"),
        "device.retired" => format!("{actor} retired {subject}{reason}"),
        "session.ended" => {
            format!("{} open of {subject} ended{reason}", sessions(detail("sessions")))
        }
        "claim.made" => {
            format!("{actor} made a claim for {subject}, good until {}", moment(detail("expires")))
        }
        "claim.refused" => format!("a claim was refused{reason}"),
        "certificate.issued" => format!("certificate {} was issued to {subject}", detail("serial")),
        "access.denied" => match detail("topic") {
            "" => format!("{subject} was denied to {}{reason}", detail("action")),
            topic => format!("{subject} was denied to {} {topic}{reason}", detail("action")),
        },
        "handshake.refused" => format!("a connection from {} was refused{reason}", detail("peer")),
        "consumer.slow" => {
            format!("{subject} reads too slowly: {} messages wait", detail("queued"))
        }
        "policy.changed" => format!("{actor} changed the policy to version {}", detail("version")),
        "operator.added" => format!("{actor} invited {subject} as {}", detail("role")),
        "operator.removed" => format!("{actor} removed {subject}"),
        "operator.signed-in" => format!("{actor} signed in"),
        "operator.refused" => format!("a sign-in was refused{reason}"),
        "operator.locked" => {
            format!("an operator was locked out until {}", moment(detail("until")))
        }
        "token.made" => format!("{actor} made the token {subject} as {}", detail("role")),
        "token.revoked" => format!("{actor} revoked the token {subject}"),
        "witness.added" => format!("{actor} added the witness {subject}"),
        "witness.removed" => format!("{actor} removed the witness {subject}"),
        "site.added" => format!("{actor} added the site {subject}"),
        "zone.added" => format!("{actor} added the zone {subject} to {}", detail("site")),
        "kind.added" => format!("{actor} added the kind {subject}"),
        other => format!("{actor}: {other} {subject}{reason}"),
    }
}

/// What a restore mended, and what people have to.
fn restored<'a>(detail: &impl Fn(&str) -> &'a str) -> String {
    let mut text = match detail("backup_made") {
        "" => "the store was put back to an earlier state".to_owned(),
        made => format!("a backup of {} was restored", moment(made)),
    };
    let events = |count: &str| match count {
        "1" => "1 event".to_owned(),
        count => format!("{count} events"),
    };
    let mut add = |name: &str, words: &str, show: &dyn Fn(&str) -> String| match detail(name) {
        "" | "0" => {}
        found => text.push_str(&format!("; {words}: {}", show(found))),
    };
    add("unknown", "unknown to the store", &events);
    add("cut_again", "cut off again", &str::to_owned);
    add("lost", "missing in the record", &events);
    add("missing", "missing, but seen elsewhere", &events);
    add("not_mended", "to be looked at", &str::to_owned);
    text
}

fn sessions(count: &str) -> String {
    match count {
        "1" => "1 session".to_owned(),
        count => format!("{count} sessions"),
    }
}

/// A point in time to the minute, as people read it.
fn moment(text: &str) -> String {
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
        _ => text.to_owned(),
    }
}
