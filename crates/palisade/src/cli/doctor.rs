//! `doctor`: what is checked about an installation, under ids that stay, each with its fix.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::json;

use super::Context;
use super::output::{Tone, items, number, plain, text};
use crate::exit::{Exit, Failure};
use crate::folder::{Folder, FolderError, State, private};
use crate::{clock, sandbox};

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// As it should be.
    Good,
    /// It works, but somebody should look.
    Warn,
    /// It does not work, or is not safe.
    Bad,
    /// It could not be checked now.
    Skipped,
}

/// One check and its outcome.
struct Check {
    id: &'static str,
    verdict: Verdict,
    found: String,
    fix: String,
}

/// So long after the last look of any witness somebody should ask why.
const LONG_UNSEEN: Duration = Duration::from_secs(7 * 24 * 3600);

/// Every id, in the order of the checks; scripts rely on them.
const IDS: [&str; 12] = [
    "data-folder",
    "data-folder-mode",
    "master-key-mode",
    "disk-space",
    "clock",
    "landlock",
    "seccomp",
    "open-files",
    "ports",
    "server",
    "ledger-tail",
    "witness",
];

/// Checks everything; ends with an error code if something is bad.
pub(crate) async fn run(context: &Context) -> Result<Exit, Failure> {
    let folder = context.folder();
    let running = context.client()?.get("/v1/fleet").await;
    let mut checks = vec![
        data_folder(&folder),
        mode("data-folder-mode", &folder, folder.path(), 0o700),
        mode("master-key-mode", &folder, &folder.master_key(), 0o600),
        disk_space(&folder),
        clock_sane(&folder),
        landlock(),
        seccomp(),
        open_files(),
        ports(context, running.is_ok()),
    ];
    checks.push(match &running {
        Ok(_) => good("server", "it answers"),
        Err(failure) if failure.exit == Exit::Unreachable => skipped("server", &failure.line()),
        Err(failure) => bad("server", &failure.line(), "look into its log"),
    });
    checks.push(match &running {
        Ok(_) => ledger_tail(context).await,
        Err(_) => skipped("ledger-tail", "the server does not answer"),
    });
    checks.push(match &running {
        Ok(_) => witness(context).await,
        Err(_) => skipped("witness", "the server does not answer"),
    });
    print(context, &checks)
}

fn print(context: &Context, checks: &[Check]) -> Result<Exit, Failure> {
    let out = &context.output;
    if out.is_json() {
        for check in checks {
            out.json(&json!({
                "id": check.id, "result": check.verdict.word(), "found": check.found,
                "fix": check.fix,
            }))?;
        }
    } else {
        let row = |check: &Check| {
            let tone = match check.verdict {
                Verdict::Good => Tone::Good,
                Verdict::Warn => Tone::Amber,
                Verdict::Bad => Tone::Bad,
                Verdict::Skipped => Tone::Faint,
            };
            let word = (check.verdict.word().to_string(), tone);
            vec![plain(check.id), word, plain(&check.found), plain(&check.fix)]
        };
        out.table(&["check", "result", "found", "fix"], checks.iter().map(row).collect())?;
    }
    let any_bad = checks.iter().any(|check| check.verdict == Verdict::Bad);
    Ok(if any_bad { Exit::Failed } else { Exit::Ok })
}

fn data_folder(folder: &Folder) -> Check {
    const ID: &str = "data-folder";
    match folder.inspect() {
        Ok(State::Made) => good(ID, &folder.path().display().to_string()),
        Ok(State::Empty) => warn(ID, "there is none yet", "run `palisade up`"),
        // The modes have checks of their own, with the same words.
        Err(FolderError::Mode { .. } | FolderError::Owner { .. }) => {
            good(ID, &folder.path().display().to_string())
        }
        Err(error) => bad(ID, &error.to_string(), "see there"),
    }
}

fn mode(id: &'static str, folder: &Folder, path: &std::path::Path, wanted: u32) -> Check {
    if !folder.version().exists() {
        return skipped(id, "there is no data folder yet");
    }
    match private(path, wanted) {
        Ok(()) => good(id, &format!("{} is for its owner alone", path.display())),
        Err(error @ FolderError::Owner { .. }) => {
            bad(id, &error.to_string(), &format!("chown -R {}", path.display()))
        }
        Err(error) => bad(id, &error.to_string(), &format!("chmod {wanted:o} {}", path.display())),
    }
}

fn disk_space(folder: &Folder) -> Check {
    const ID: &str = "disk-space";
    let existing = folder.path().ancestors().find(|path| path.exists());
    let Some(stat) = existing.and_then(|path| rustix::fs::statvfs(path).ok()) else {
        return skipped(ID, "the file system does not say");
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let found = format!("{} MiB free", free / (1024 * 1024));
    let fix = "free some space: the record stops when the disk is full";
    match free {
        free if free < 256 * 1024 * 1024 => bad(ID, &found, fix),
        free if free < 2 * 1024 * 1024 * 1024 => warn(ID, &found, fix),
        _ => good(ID, &found),
    }
}

fn clock_sane(folder: &Folder) -> Check {
    const ID: &str = "clock";
    let now = clock::now();
    let fix = "set the clock and keep it with NTP: certificates and claims depend on it";
    // 2026-11-01: before this program was written.
    if now.seconds() < 1_793_491_200 {
        return bad(ID, &format!("it shows {now}"), fix);
    }
    let ledger = folder.role("control").join("ledger");
    let newest = std::fs::metadata(ledger).and_then(|metadata| metadata.modified()).ok();
    let newest = newest.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    match newest {
        Some(at) if i64::try_from(at.as_secs()).is_ok_and(|at| at > now.seconds() + 60) => {
            bad(ID, &format!("it shows {now}, but the record was written later"), fix)
        }
        _ => good(ID, &format!("it shows {now}")),
    }
}

fn landlock() -> Check {
    match sandbox::landlock() {
        Ok(version) if version >= 4 => good("landlock", &format!("version {version}")),
        Ok(version) => warn(
            "landlock",
            &format!("version {version}: files are held, ports only by seccomp"),
            "run Linux 6.7 or newer",
        ),
        Err(found) => warn(
            "landlock",
            found,
            "run Linux 5.13 or newer with `landlock` among its security modules (lsm=)",
        ),
    }
}

fn seccomp() -> Check {
    let status = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
    match status {
        Ok(actions) if actions.contains("kill_process") => good("seccomp", "available"),
        _ => bad("seccomp", "this kernel has no seccomp filters", "run a kernel that has them"),
    }
}

fn open_files() -> Check {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let found = format!("up to {hard}, one per connected device");
    match hard {
        hard if hard < 4096 => {
            warn("open-files", &found, "raise the hard limit (LimitNOFILE=, ulimit -Hn)")
        }
        _ => good("open-files", &found),
    }
}

fn ports(context: &Context, running: bool) -> Check {
    const ID: &str = "ports";
    let c = &context.configuration;
    if running {
        return good(ID, "our own server has them");
    }
    for port in [c.https_port.value, c.mqtt_port.value] {
        match TcpListener::bind(SocketAddr::new(c.listen.value, port)) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::AddrInUse => {
                let fix = "stop what listens there, or set `https_port` and `mqtt_port`";
                return bad(ID, &format!("port {port} is taken"), fix);
            }
            Err(e) => {
                let found = format!("port {port} cannot be used: {e}");
                return bad(ID, &found, "choose ports above 1023 and an address of this machine");
            }
        }
    }
    good(ID, &format!("{} and {} are free", c.https_port.value, c.mqtt_port.value))
}

async fn ledger_tail(context: &Context) -> Check {
    const ID: &str = "ledger-tail";
    let tail = async {
        let client = context.client()?;
        let newest = client.get("/v1/events?limit=1").await?;
        let signed = match client.bytes("/v1/ledger/checkpoint").await {
            Ok(note) => ledger::Checkpoint::parse(&ledger::Note::parse(&note)?.text)?.size,
            // A record that has just begun has no checkpoint for a second.
            Err(failure) if failure.exit == Exit::NotFound => 0,
            Err(failure) => return Err(failure),
        };
        Ok::<_, Failure>((newest, signed))
    };
    let (newest, signed) = match tail.await {
        Ok(found) => found,
        Err(failure) => return bad(ID, &failure.line(), "look into the server's log"),
    };
    let events = items(&newest).first().map_or(0, |event| number(event, "/index") + 1);
    let found = format!("{events} events, {signed} of them under the newest checkpoint");
    // Checkpoints come every second or 10,000 events.
    match events.saturating_sub(signed) > 20_000 {
        true => bad(ID, &found, "custody does not sign: look into the server's log"),
        false => good(ID, &found),
    }
}

/// A record that nobody else watches can be put back to an earlier state unseen.
async fn witness(context: &Context) -> Check {
    const ID: &str = "witness";
    const FIX: &str = "run `palisade ledger witness` on another machine; see docs/record.md";
    let witnesses = async { context.client()?.get("/v1/ledger/witnesses").await };
    let witnesses = match witnesses.await {
        Ok(page) => page,
        Err(failure) => return bad(ID, &failure.line(), "look into the server's log"),
    };
    let seen = |item: &serde_json::Value| text(item, "/seen").parse::<identity::Time>().ok();
    match items(&witnesses).iter().filter_map(seen).max() {
        None => warn(ID, "nobody else watches the record", FIX),
        Some(last) if last.plus(LONG_UNSEEN) < clock::now() => {
            warn(ID, &format!("no witness has looked since {last}"), FIX)
        }
        Some(last) => good(ID, &format!("one looked at {last}")),
    }
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warn => "warn",
            Self::Bad => "fail",
            Self::Skipped => "skipped",
        }
    }
}

fn good(id: &'static str, found: &str) -> Check {
    check(id, Verdict::Good, found, "")
}

fn warn(id: &'static str, found: &str, fix: &str) -> Check {
    check(id, Verdict::Warn, found, fix)
}

fn bad(id: &'static str, found: &str, fix: &str) -> Check {
    check(id, Verdict::Bad, found, fix)
}

fn skipped(id: &'static str, found: &str) -> Check {
    check(id, Verdict::Skipped, found, "")
}

fn check(id: &'static str, verdict: Verdict, found: &str, fix: &str) -> Check {
    debug_assert!(IDS.contains(&id), "an id that is not listed");
    Check { id, verdict, found: found.into(), fix: fix.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_are_these_and_stay() {
        expect_test::expect![[
            "data-folder data-folder-mode master-key-mode disk-space clock landlock seccomp \
             open-files ports server ledger-tail witness"
        ]]
        .assert_eq(&IDS.join(" "));
    }

    #[test]
    fn open_permissions_are_found_with_the_command_that_mends_them() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(place.path());
        std::fs::write(folder.version(), "1").unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(place.path(), open).unwrap();
        let check = mode("data-folder-mode", &folder, folder.path(), 0o700);
        assert_eq!(check.verdict, Verdict::Bad);
        assert_eq!(check.fix, format!("chmod 700 {}", place.path().display()));
    }

    #[test]
    fn without_a_data_folder_nothing_about_it_fails() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(place.path().join("absent"));
        assert_eq!(data_folder(&folder).verdict, Verdict::Warn);
        let key = mode("master-key-mode", &folder, &folder.master_key(), 0o600);
        assert_eq!(key.verdict, Verdict::Skipped);
        assert_eq!(disk_space(&folder).id, "disk-space");
    }
}
