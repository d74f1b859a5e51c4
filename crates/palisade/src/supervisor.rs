//! Starts the roles, joins them, watches them, and ends them in the order that loses nothing.
//!
//! It holds the master key and reads no stranger's bytes. The roles share links, so when one dies
//! all are started anew: connections drop, and nothing that was acknowledged is lost.

use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::time::Duration;

use control::custody::Authorities;
use identity::certificate::ServerName;
use journal::vault::MasterKey;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tracing::warn;
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure, OrExit};
use crate::folder::Folder;
use crate::setup::{self, Part, Report, Role, Secret, Setup, Url};

/// Everything that the roles are started with, as often as it takes.
pub(crate) struct Plan {
    /// The data folder.
    pub(crate) folder: Folder,
    /// What every role's secret is derived from.
    pub(crate) master: MasterKey,
    /// The listener for console and API.
    pub(crate) https: TcpListener,
    /// The listener for MQTT.
    pub(crate) mqtt: TcpListener,
    /// The listener for the gateway's counts, where one is wanted.
    pub(crate) metrics: Option<TcpListener>,
    /// The listener without TLS for suites, where one is wanted.
    pub(crate) insecure: Option<TcpListener>,
    /// Whether devices may speak TLS 1.2.
    pub(crate) tls12: bool,
    /// The listener for commands on this machine.
    pub(crate) local: UnixListener,
    /// The names for certificates.
    pub(crate) names: Vec<ServerName>,
    /// Where console and API are said to be.
    pub(crate) server: String,
    /// Where devices are told to connect.
    pub(crate) broker: String,
    /// A PostgreSQL address, or none for SQLite.
    pub(crate) store: Option<Zeroizing<String>>,
    /// What is logged.
    pub(crate) log: String,
    /// Whether as JSON.
    pub(crate) log_json: bool,
}

/// The roles, running.
pub(crate) struct Roles {
    custody: Process,
    control: Process,
    gateway: Process,
    /// What is public of the keys.
    pub(crate) authorities: Authorities,
    /// The page of the first sign-in, while nobody can sign in.
    pub(crate) sign_in: Option<String>,
}

/// One process and the socket that says when it stands; closing it tells it to end.
struct Process {
    role: Role,
    child: Child,
    socket: tokio::net::UnixStream,
}

/// How long a role may take until it stands; a large record takes a while to open.
const START: Duration = Duration::from_secs(60);
/// How long a role may take to say why it ends, when another has ended already.
const LAST_WORD: Duration = Duration::from_secs(2);
/// How long each role may take to end.
const GATEWAY_END: Duration = Duration::from_secs(10);
const CONTROL_END: Duration = Duration::from_secs(20);
const CUSTODY_END: Duration = Duration::from_secs(5);

impl Plan {
    /// Starts every role and waits until all stand; `invite` asks for a sign-in link where nobody
    /// can sign in yet.
    pub(crate) async fn start(&self, invite: bool) -> Result<Roles, Failure> {
        let (custody_end, control_to_custody) = UnixStream::pair()?;
        let (gateway_end, control_to_gateway) = UnixStream::pair()?;
        let mut custody = self.spawn(Role::Custody, Part::Custody, &[custody_end.into()]).await?;
        let authorities = match custody.report().await? {
            Report::Custody(authorities) => authorities,
            report => return Err(custody.misreported(&report)),
        };
        let part = Part::Control {
            store: self.store.clone().map(Url),
            names: self.names.clone(),
            server: self.server.clone(),
            broker: self.broker.clone(),
            invite,
        };
        let fds = [
            control_to_custody.into(),
            control_to_gateway.into(),
            self.https.try_clone()?.into(),
            self.local.try_clone()?.into(),
        ];
        let mut control = self.spawn(Role::Control, part, &fds).await?;
        let part = Part::Gateway {
            names: self.names.clone(),
            authorities: authorities.clone(),
            metrics: self.metrics.is_some(),
            insecure: self.insecure.is_some(),
            tls12: self.tls12,
        };
        let mut fds = vec![gateway_end.into(), self.mqtt.try_clone()?.into()];
        for listener in [&self.metrics, &self.insecure].into_iter().flatten() {
            fds.push(listener.try_clone()?.into());
        }
        let mut gateway = self.spawn(Role::Gateway, part, &fds).await?;
        drop(fds);
        let sign_in = match control.report_beside([&mut custody, &mut gateway]).await? {
            Report::Control { sign_in } => sign_in,
            report => return Err(control.misreported(&report)),
        };
        match gateway.report_beside([&mut custody, &mut control]).await? {
            Report::Gateway => {}
            report => return Err(gateway.misreported(&report)),
        }
        Ok(Roles { custody, control, gateway, authorities, sign_in })
    }

    async fn spawn(&self, role: Role, part: Part, fds: &[OwnedFd]) -> Result<Process, Failure> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let folder = self.folder.role(role.name());
        let mut command = Command::new(program()?);
        command
            .arg0("palisade")
            .args(["role", role.name()])
            .env_clear()
            // SQLite's and other temporary files stay where the role may write.
            .env("SQLITE_TMPDIR", &folder)
            .env("TMPDIR", &folder)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            // Its own group: Ctrl-C on a terminal reaches the supervisor, which ends them in order.
            .process_group(0)
            .kill_on_drop(true);
        for name in ["NO_COLOR", "RUST_BACKTRACE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let child =
            command.spawn().map_err(|e| anyhow::anyhow!("cannot start {}: {e}", role.name()))?;
        // The command holds the role's end of the socket until it is dropped.
        drop(command);
        let setup = Setup {
            folder: folder.as_os_str().as_bytes().to_vec(),
            secret: Secret(self.master.derive_secret(role.name())),
            log: self.log.clone(),
            log_json: Some(self.log_json),
            part,
        };
        let fds: Vec<_> = fds.iter().collect();
        setup::send(&mut ours, &setup, &fds)?;
        ours.set_nonblocking(true)?;
        Ok(Process { role, child, socket: tokio::net::UnixStream::from_std(ours)? })
    }
}

impl Roles {
    /// Waits until one of them ends, which none should, and says which.
    pub(crate) async fn died(&mut self) -> String {
        let (role, status) = tokio::select! {
            status = self.custody.child.wait() => (Role::Custody, status),
            status = self.control.child.wait() => (Role::Control, status),
            status = self.gateway.child.wait() => (Role::Gateway, status),
        };
        match status {
            Ok(status) => format!("{} ended by itself ({status})", role.name()),
            Err(error) => format!("{} cannot be watched ({error})", role.name()),
        }
    }

    /// Ends them: who lets strangers in goes first, then who records what they did, then who signs.
    ///
    /// Control is told first all the same: so it knows that the gateway's end is no accident, and
    /// takes what it observed last.
    pub(crate) async fn stop(self) {
        self.control.tell();
        self.gateway.tell();
        self.gateway.end(GATEWAY_END).await;
        self.control.end(CONTROL_END).await;
        // Custody ends with control's link.
        self.custody.end(CUSTODY_END).await;
    }

    /// Gives the numbers of the processes, by role.
    pub(crate) fn pids(&self) -> [(&'static str, Option<u32>); 3] {
        let pid = |process: &Process| (process.role.name(), process.child.id());
        [pid(&self.custody), pid(&self.control), pid(&self.gateway)]
    }
}

impl Process {
    /// Waits for the role's one report.
    async fn report(&mut self) -> Result<Report, Failure> {
        let read = async {
            let mut header = [0; 4];
            self.socket.read_exact(&mut header).await?;
            let mut bytes = vec![0; setup::body_len(header)?];
            self.socket.read_exact(&mut bytes).await?;
            minicbor::decode(&bytes).map_err(std::io::Error::other)
        };
        let name = self.role.name();
        match tokio::time::timeout(START, read).await {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(_)) => {
                let status = tokio::time::timeout(CUSTODY_END, self.child.wait()).await;
                let how = status.ok().and_then(Result::ok).map(|status| format!(" ({status})"));
                let how = how.unwrap_or_default();
                Err(Failure::new(Exit::Failed, format!("{name} ended while it started{how}")))
            }
            Err(_) => {
                let seconds = START.as_secs();
                let text = format!("{name} does not stand after {seconds} seconds; see its log");
                Err(Failure::new(Exit::Failed, text))
            }
        }
    }

    /// Waits for the role's report while the others live: it may be waiting for them.
    async fn report_beside(&mut self, others: [&mut Self; 2]) -> Result<Report, Failure> {
        let [one, other] = others;
        let report = self.report();
        tokio::pin!(report);
        let ended = tokio::select! {
            biased;
            report = &mut report => return report,
            _ = one.child.wait() => one,
            _ = other.child.wait() => other,
        };
        // Their links join them: it may have ended because this one does, which then says why.
        match tokio::time::timeout(LAST_WORD, report).await {
            Ok(Ok(failed @ Report::Failed { .. })) => Ok(failed),
            Ok(_) | Err(_) => Err(ended.why_ended().await),
        }
    }

    /// Says why a role ended before all stood, in its own words if it left any.
    async fn why_ended(&mut self) -> Failure {
        match self.report().await {
            Ok(report) => self.misreported(&report),
            Err(failure) => failure,
        }
    }

    fn misreported(&self, report: &Report) -> Failure {
        match report {
            Report::Failed { exit, text } => Failure::new(Exit::of(*exit), text),
            Report::Custody(_) | Report::Control { .. } | Report::Gateway => {
                Failure::new(Exit::Failed, format!("{} says that it is another", self.role.name()))
            }
        }
    }

    fn tell(&self) {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // That it ended meanwhile is what we want.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    async fn end(mut self, patience: Duration) {
        let role = self.role.name();
        if tokio::time::timeout(patience, self.child.wait()).await.is_err() {
            warn!(role, "did not end in time and is killed");
            let _ = self.child.kill().await;
        }
    }
}

/// Gives the program to start: the one that runs, even if another lies at its path by now.
fn program() -> Result<&'static str, Failure> {
    let path = "/proc/self/exe";
    let there = std::fs::symlink_metadata(path);
    there.map_err(|e| anyhow::anyhow!("/proc is not mounted: {e}")).or_exit(Exit::Failed)?;
    Ok(path)
}

/// Makes a listener take bursts of connections, as a fleet after a power cut brings them.
pub(crate) fn lengthen_queue(listener: impl AsFd) -> std::io::Result<()> {
    Ok(rustix::net::listen(listener, 4096)?)
}
