//! `up`: from nothing to a running server, or from what is there; then watch until told to stop.

use std::collections::VecDeque;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use identity::Fingerprint;
use identity::certificate::ServerName;
use journal::vault::{MasterKey, SystemRandom};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::cli::Context;
use crate::configuration::{Configuration, LogFormat, TlsVersion};
use crate::exit::{Exit, Failure, OrExit};
use crate::folder::{Folder, FolderError, Lock, State};
use crate::keeper::{self, Choice};
use crate::supervisor::{Plan, Roles, lengthen_queue};
use crate::{clock, sandbox, store, telemetry};

/// So many deaths in so long are too many.
const MAX_DEATHS: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// The first wait before roles are started anew; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

const TEST_LISTENER: &str = "--insecure-test-listener";

/// Starts everything and watches over it.
///
/// A port for tests opens a listener without TLS on loopback beside the others.
pub(crate) fn run(context: &Context, for_tests: Option<u16>) -> Result<(), Failure> {
    sandbox::no_dumps()?;
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    allow_many_connections();
    let (plan, _lock) = prepare(&context.configuration, for_tests, context.folder())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(Box::pin(watch(context, &plan)));
    // The socket's file tells nobody anything once nobody listens.
    let _ = fs::remove_file(plan.folder.socket());
    ended
}

/// Raises the limit of open files as far as it goes: each connected device takes one.
fn allow_many_connections() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!(%error, "the limit of open files stays as it is");
    }
}

/// Gets hold of all that can be missing, before anything is made or started.
fn prepare(
    c: &Configuration,
    for_tests: Option<u16>,
    folder: Folder,
) -> Result<(Plan, Lock), Failure> {
    let folder_failure = |e: FolderError| Failure { exit: e.exit(), error: e.into() };
    let state = folder.inspect().map_err(folder_failure)?;
    let choice = Choice::of(&c.unlocking)?;
    let known = match state {
        State::Made => {
            let lock = folder.lock().map_err(folder_failure)?;
            Some((lock, choice.load(&folder.master_key())?))
        }
        State::Empty => None,
    };
    let at = |port| SocketAddr::new(c.listen.value, port);
    let https = listen(at(c.https_port.value), "--https-port")?;
    let mqtt = listen(at(c.mqtt_port.value), "--mqtt-port")?;
    let metrics = c.metrics.value.map(|address| listen(address, "--metrics")).transpose()?;
    let for_tests = for_tests.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let insecure = for_tests.map(|address| listen(address, TEST_LISTENER)).transpose()?;
    if let Some(url) = &c.store.value {
        store::reach(url)?;
    }
    let (lock, master) = match known {
        Some(known) => known,
        None => {
            folder.create(|new| fill(new, &choice))?;
            let lock = folder.lock().map_err(folder_failure)?;
            (lock, choice.load(&folder.master_key())?)
        }
    };
    let local = listen_locally(&folder.socket())?;
    let host = host(c);
    let plan = Plan {
        server: format!("https://{}:{}", bracketed(&host), https.local_addr()?.port()),
        broker: format!("{}:{}", bracketed(&host), mqtt.local_addr()?.port()),
        names: names(c),
        folder,
        master,
        https,
        mqtt,
        metrics,
        insecure,
        tls12: c.mqtt_tls.value == TlsVersion::V12,
        local,
        store: c.store.value.clone().map(Zeroizing::new),
        log: c.log.value.clone(),
        log_json: c.log_format.value.unwrap_or_else(telemetry::default_format) == LogFormat::Json,
    };
    Ok((plan, lock))
}

/// Writes what a new data folder holds: the master key, the authorities, a place for each role.
fn fill(new: &Folder, choice: &Choice) -> Result<(), Failure> {
    let random = SystemRandom::new();
    let master = MasterKey::create(&new.master_key(), &choice.unlock(), &random);
    let master = master.map_err(keeper::failure)?;
    for name in ["custody", "control", "gateway"] {
        crate::folder::make_private(&new.role(name)).or_exit(Exit::Unwritable)?;
    }
    let secret = master.derive_secret("custody");
    control::custody::create(&new.role("custody"), &secret, clock::now(), &random)?;
    Ok(())
}

fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener, Failure> {
    let (ip, port) = (address.ip(), address.port());
    let listener = TcpListener::bind(address).map_err(|e| {
        let text = match e.kind() {
            ErrorKind::AddrInUse => {
                format!(
                    "port {port} is taken; stop what listens there or choose another with {flag}"
                )
            }
            ErrorKind::PermissionDenied => {
                format!("port {port} needs a privilege; choose one above 1023 with {flag}")
            }
            ErrorKind::AddrNotAvailable => {
                let flag = if flag == "--metrics" { flag } else { "--listen" };
                format!("`{ip}` is no address of this machine; choose one with {flag}")
            }
            _ => format!("cannot listen on {ip} port {port}: {e}"),
        };
        Failure::new(Exit::Port, text)
    })?;
    lengthen_queue(&listener)?;
    Ok(listener)
}

fn listen_locally(path: &Path) -> Result<UnixListener, Failure> {
    // We hold the folder's lock: a socket that is there is left over.
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e).or_exit(Exit::Unwritable),
        Ok(()) | Err(_) => {}
    }
    UnixListener::bind(path).map_err(|e| {
        let text = match e.kind() {
            ErrorKind::InvalidInput => {
                format!("`{}` is too long for a socket; choose a shorter --data", path.display())
            }
            _ => format!("cannot make the socket `{}`: {e}", path.display()),
        };
        Failure::new(Exit::Unwritable, text)
    })
}

/// Gives every name by which this server may be reached: those that were said, and this machine's.
fn names(c: &Configuration) -> Vec<ServerName> {
    let mut names = c.name.value.clone();
    let ip = c.listen.value;
    if !ip.is_unspecified() && !ip.is_loopback() {
        names.push(ServerName::Ip(ip));
    }
    if ip.is_unspecified() {
        names.extend(hostname());
    }
    let own = ["localhost", "127.0.0.1", "::1"];
    names.extend(own.iter().filter_map(|name| name.parse().ok()));
    let mut seen = Vec::new();
    names.retain(|name| {
        let new = !seen.contains(name);
        seen.push(name.clone());
        new
    });
    names
}

/// Gives the name that people and devices are told.
fn host(c: &Configuration) -> ServerName {
    let localhost = || ServerName::Dns("localhost".into());
    match (c.name.value.first(), c.listen.value) {
        (Some(name), _) => name.clone(),
        (None, ip) if ip.is_unspecified() => hostname().unwrap_or_else(localhost),
        (None, ip) if ip.is_loopback() => localhost(),
        (None, ip) => ServerName::Ip(ip),
    }
}

fn hostname() -> Option<ServerName> {
    fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().parse().ok()
}

fn bracketed(host: &ServerName) -> String {
    match host {
        ServerName::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
        name => name.to_string(),
    }
}

/// Runs the roles until a signal comes; starts them anew when one dies.
async fn watch(context: &Context, plan: &Plan) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut deaths = VecDeque::new();
    let mut announced = false;
    let mut wait = FIRST_WAIT;
    loop {
        let started = tokio::select! {
            started = plan.start(!announced) => started,
            () = told(&mut terminate, &mut interrupt) => return Ok(()),
        };
        let death = match started {
            Ok(mut roles) => {
                if !announced {
                    announce(context, plan, &roles)?;
                    announced = true;
                }
                notify(NotifyState::Ready);
                tokio::select! {
                    death = roles.died() => {
                        warn!(death, "a role ended; all are started anew");
                        roles.stop().await;
                        death
                    }
                    () = told(&mut terminate, &mut interrupt) => {
                        notify(NotifyState::Stopping);
                        info!("stopping");
                        roles.stop().await;
                        return Ok(());
                    }
                }
            }
            // What does not start the first time will not the second: say why.
            Err(failure) if !announced => return Err(failure),
            Err(failure) => {
                warn!(error = failure.line(), "the roles do not start");
                failure.line()
            }
        };
        let now = Instant::now();
        deaths.push_back(now);
        deaths.retain(|at| now.duration_since(*at) < WINDOW);
        if deaths.len() >= MAX_DEATHS {
            let text =
                format!("{MAX_DEATHS} times in a minute a role ended, the last time: {death}");
            return Err(Failure::new(Exit::Unstable, text));
        }
        if deaths.len() == 1 {
            wait = FIRST_WAIT;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
            () = told(&mut terminate, &mut interrupt) => return Ok(()),
        }
    }
}

async fn told(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "the service manager was not told");
    }
}

/// Says where everything is, and what to type next.
fn announce(context: &Context, plan: &Plan, roles: &Roles) -> Result<(), Failure> {
    let console = &plan.server;
    let root = Fingerprint::of_der(&roles.authorities.root);
    let sign_in = roles.sign_in.as_ref().map(|path| format!("{console}{path}"));
    let data = context.folder().path().display().to_string();
    let out = &context.output;
    let pids = roles.pids();
    let metrics = plan.metrics.as_ref().map(|m| m.local_addr()).transpose()?;
    let metrics = metrics.map(|address| format!("http://{address}/metrics"));
    let insecure = plan.insecure.as_ref().map(|i| i.local_addr()).transpose()?;
    let insecure = insecure.map(|address| address.to_string());
    info!(console, mqtt = plan.broker, data, "ready");
    if out.is_json() {
        let pids: serde_json::Map<_, _> =
            pids.into_iter().map(|(name, pid)| (name.to_string(), json!(pid))).collect();
        return out.json(&json!({
            "ready": true, "console": console, "sign_in": sign_in, "mqtt": plan.broker,
            "metrics": metrics, "insecure_test_listener": insecure,
            "root": root.to_string(), "data": data, "pid": std::process::id(), "roles": pids,
            "record": roles.authorities.record,
        }));
    }
    let default = context.configuration.data.origin == crate::configuration::Origin::Default;
    let folder = if default { String::new() } else { format!(" --data {data}") };
    let mut text = format!("Palisade {} is ready.\n\n", env!("CARGO_PKG_VERSION"));
    match &sign_in {
        Some(link) => text.push_str(&format!(
            "  Console  {link}\n           The link works once, for a day: choose your password there.\n"
        )),
        None => text.push_str(&format!("  Console  {console}\n")),
    }
    let tls = if plan.tls12 { "TLS 1.2 and 1.3" } else { "TLS 1.3" };
    text.push_str(&format!("  MQTT     {} ({tls} with client certificates)\n", plan.broker));
    if let Some(metrics) = metrics {
        text.push_str(&format!("  Metrics  {metrics} of the gateway\n"));
    }
    if let Some(address) = insecure {
        text.push_str(&format!(
            "  Tests    {address} is open to everybody on this machine, with a broker of its own\n"
        ));
    }
    text.push_str(&format!("  Root CA  SHA-256 {root}\n"));
    text.push_str(&format!("  Data     {data}\n\n"));
    text.push_str("Next, in another terminal:\n");
    text.push_str(&format!("  palisade device add pump-7 --kind pump --zone plant-a{folder}\n"));
    out.text(&text)
}
