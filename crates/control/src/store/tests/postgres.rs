//! A private PostgreSQL for the tests of this process, which ends with it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

struct Server {
    port: u16,
    binaries: PathBuf,
}

/// Makes an empty database of its own and gives its address; `None` where there is no PostgreSQL.
pub(crate) fn database() -> Option<String> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    static N_DATABASES: AtomicU32 = AtomicU32::new(0);
    let server = SERVER.get_or_init(start).as_ref()?;
    let name = format!("test{}", N_DATABASES.fetch_add(1, Ordering::Relaxed));
    let port = server.port.to_string();
    let output = Command::new(server.binaries.join("createdb"))
        .args(["-h", "127.0.0.1", "-p", &port, "-U", "palisade", &name])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(format!("postgres://palisade@127.0.0.1:{port}/{name}?sslmode=disable"))
}

fn start() -> Option<Server> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let binaries = versions
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .find(|bin| bin.join("initdb").exists())?;
    let folder =
        std::env::temp_dir().join(format!("palisade-test-postgres-{}", std::process::id()));
    sweep_stale();
    std::fs::create_dir_all(&folder).unwrap();
    let folder_text = folder.to_str().unwrap();
    assert!(Command::new("chown").args(["nobody", folder_text]).status().unwrap().success());
    let data = folder.join("data");
    let data_text = data.to_str().unwrap();
    let initdb = unprivileged(&binaries.join("initdb"), &folder)
        .args([
            "-D",
            data_text,
            "-U",
            "palisade",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ])
        .output()
        .unwrap();
    assert!(initdb.status.success(), "{}", String::from_utf8_lossy(&initdb.stderr));
    let port = free_port();
    let mut postgres = unprivileged(&binaries.join("postgres"), &folder);
    postgres.args(["-D", data_text, "-p", &port.to_string()]);
    postgres.args([
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "fsync=off",
        "-c",
        "max_connections=300",
    ]);
    postgres.args(["-c", &format!("unix_socket_directories={folder_text}")]);
    postgres.stdout(Stdio::null()).stderr(Stdio::null());
    // The server dies with the thread that started it, so that thread lives as long as we do.
    std::thread::spawn(move || {
        let _ = postgres.spawn().unwrap().wait();
    });
    wait_for(&binaries, port);
    Some(Server { port, binaries })
}

/// Finds a port below those that systems give to whoever asks for any, so that nobody is given it
/// before the server takes it.
fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (22_000..32_000).find(is_free).unwrap()
}

/// PostgreSQL refuses to run as root, and ends (SIGQUIT) when its parent does.
fn unprivileged(program: &Path, home: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]);
    }
    command.args(["env", "-i", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"]);
    command.arg(format!("HOME={}", home.display())).arg(program);
    command
}

fn wait_for(binaries: &Path, port: u16) {
    let begun = Instant::now();
    let ready = || {
        let port = port.to_string();
        let probe = Command::new(binaries.join("pg_isready"))
            .args(["-q", "-h", "127.0.0.1", "-p", &port])
            .status();
        probe.is_ok_and(|status| status.success())
    };
    while !ready() {
        assert!(begun.elapsed() < Duration::from_secs(30), "PostgreSQL did not start");
        std::thread::yield_now();
    }
}

/// Removes the folders of test processes that are gone.
fn sweep_stale() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("palisade-test-postgres-"));
        if let Some(pid) = pid
            && !Path::new("/proc").join(pid).exists()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
