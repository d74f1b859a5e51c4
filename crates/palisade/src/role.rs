//! The processes that `up` consists of: each takes its setup from standard input, enters its
//! sandbox, says that it stands, and serves until it is told to stop.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use clap::Subcommand;
use control::custody;
use gateway::OldestTls;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};
use zeroize::Zeroizing;

use crate::configuration::LogFormat;
use crate::exit::{Exit, Failure, OrExit};
use crate::sandbox::{self, Bounds};
use crate::setup::{self, Part, Report, Role, Setup};
use crate::{store, telemetry};

mod probe;

/// One process of the server; started by `up`, not by people.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Hold the keys
    Custody,
    /// Serve console and API
    Control,
    /// Serve devices
    Gateway,
    /// Try what a role's sandbox must refuse
    Probe(probe::Probe),
}

/// Runs one process.
pub(crate) fn run(command: Command) -> Result<Exit, Failure> {
    let role = match command {
        Command::Probe(probe) => return probe::run(&probe),
        Command::Custody => Role::Custody,
        Command::Control => Role::Control,
        Command::Gateway => Role::Gateway,
    };
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (setup, fds) = setup::receive(&mut socket).map_err(|e| {
        Failure::new(Exit::Usage, format!("a role is started by `palisade up` alone: {e}"))
    })?;
    let format = setup.log_json.map(|json| if json { LogFormat::Json } else { LogFormat::Human });
    telemetry::start(&setup.log, format, role.name());
    // What `ps` and `top` show; a name that is not taken is no reason to fail.
    let _ = rustix::thread::set_name(role.process_name());
    let told = socket.try_clone()?;
    match serve(role, setup, fds, socket) {
        Ok(()) => {
            info!("stopped");
            Ok(Exit::Ok)
        }
        Err(failure) => {
            let report = Report::Failed { exit: failure.exit.code(), text: failure.line() };
            // If the supervisor is gone, the log is all there is.
            if setup::report(&mut &told, &report).is_err() {
                error!(error = failure.line(), "failed");
            }
            Ok(failure.exit)
        }
    }
}

fn serve(role: Role, setup: Setup, fds: Vec<OwnedFd>, socket: UnixStream) -> Result<(), Failure> {
    let folder = PathBuf::from(OsString::from_vec(setup.folder));
    let secret = setup.secret.0;
    let mut fds = fds.into_iter();
    let mut next = || fds.next().ok_or_else(|| anyhow::anyhow!("a descriptor is missing"));
    match (role, setup.part) {
        (Role::Custody, Part::Custody) => {
            let link = next()?.into();
            serve_custody(folder, secret, link, &socket)
        }
        (Role::Control, Part::Control { store, names, server, broker, invite }) => {
            let database =
                store.as_ref().and_then(|url| store::address(&url.0)).map(|(_, port)| port);
            sandbox::enter(&Bounds { role, folder: &folder, database })?;
            let remote = store.is_some();
            let setup = control::Setup {
                folder,
                secret,
                store: store.map(|url| url.0.to_string()),
                custody: next()?.into(),
                gateway: next()?.into(),
                https: next()?.into(),
                local: next()?.into(),
                names,
                addresses: control::Addresses { server, broker },
                invite,
                version: env!("CARGO_PKG_VERSION"),
            };
            let told = socket.try_clone()?;
            let ready = |ready: control::Ready| {
                report(&told, &Report::Control { sign_in: ready.sign_in_link });
            };
            let exit = |error: &anyhow::Error| match error.is::<control::StoreError>() && remote {
                true => Exit::Store,
                false => Exit::Failed,
            };
            runtime(CONTROL_THREADS, "control")?.block_on(async {
                let stop = stop(socket)?;
                let ended = Box::pin(control::run(setup, ready, stop)).await;
                ended.map_err(|error| Failure { exit: exit(&error), error })
            })
        }
        (Role::Gateway, Part::Gateway { names, authorities, metrics, insecure, tls12 }) => {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            sandbox::enter(&Bounds { role, folder: &folder, database: None })?;
            let (link, mqtt) = (next()?.into(), next()?.into());
            let mut wanted = |is: bool| is.then(&mut next).transpose();
            let setup = gateway::Setup {
                link,
                mqtt,
                metrics: wanted(metrics)?.map(Into::into),
                insecure: wanted(insecure)?.map(Into::into),
                oldest_tls: if tls12 { OldestTls::Tls12 } else { OldestTls::Tls13 },
                names,
                standing_key: authorities.standing,
                issuing: authorities.issuing.to_vec(),
                folder,
                secret,
                limits: gateway::Limits::default(),
            };
            let told = socket.try_clone()?;
            let ready = || report(&told, &Report::Gateway);
            runtime(threads, "gateway")?.block_on(async {
                let stop = stop(socket)?;
                Ok(Box::pin(gateway::run(setup, ready, stop)).await?)
            })
        }
        (Role::Custody | Role::Control | Role::Gateway, _) => {
            Err(Failure::new(Exit::Failed, "the setup is of another role"))
        }
    }
}

/// Custody: one thread, no runtime, no sockets but the one link.
fn serve_custody(
    folder: PathBuf,
    secret: Zeroizing<[u8; 32]>,
    link: UnixStream,
    socket: &UnixStream,
) -> Result<(), Failure> {
    sandbox::keep_memory_private(Role::Custody)?;
    let setup = custody::Setup { folder, secret, link };
    let custodian = custody::load(&setup)?;
    let custody::Setup { folder, secret, link } = setup;
    drop(secret);
    sandbox::enter(&Bounds { role: Role::Custody, folder: &folder, database: None })?;
    report(socket, &Report::Custody(custodian.authorities().clone()));
    Ok(custody::serve(custodian, link)?)
}

fn report(mut socket: &UnixStream, report: &Report) {
    // A supervisor that is gone closes the socket, which stops us by another way.
    let _ = setup::report(&mut socket, report);
}

fn runtime(n_threads: usize, name: &str) -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(n_threads)
        .max_blocking_threads(16)
        .thread_name(name)
        .enable_all()
        .build();
    runtime.or_exit(Exit::Failed)
}

/// Ends on SIGTERM, or when the supervisor's end of the socket closes.
fn stop(socket: UnixStream) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    socket.set_nonblocking(true)?;
    let mut socket = tokio::net::UnixStream::from_std(socket)?;
    Ok(async move {
        let mut byte = [0];
        tokio::select! {
            _ = terminate.recv() => {}
            // Nothing is ever sent after the setup: whatever comes is the end.
            _ = socket.read(&mut byte) => {}
        }
    })
}

/// Control waits for the store and for custody; two threads keep the API answering meanwhile.
const CONTROL_THREADS: usize = 2;
