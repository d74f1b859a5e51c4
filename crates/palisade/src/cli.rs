//! The command line: nouns and verbs, one file per noun.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use zeroize::Zeroizing;

use crate::client::{Client, Pin, Place};
use crate::configuration::{self, Configuration, Key, Layers, LogFormat};
use crate::exit::{Exit, Failure, OrExit};
use crate::folder::Folder;
use output::Output;

mod backup;
mod config;
mod device;
mod doctor;
mod enroll;
mod events;
mod key;
mod ledger;
mod manual;
mod memory;
mod operator;
pub(crate) mod output;
mod place;
mod policy;
mod token;
mod why;
mod witness;

/// Security for a fleet of connected devices, from their first day to their last.
#[derive(Debug, Parser)]
#[command(
    name = "palisade",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_long_help = exit_codes()
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
struct Global {
    /// The data folder [default: the platform's place for it]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write data as JSON, one value per line
    #[arg(long, global = true)]
    json: bool,
    /// How to log [default: human on a terminal, json elsewhere]
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    log: Option<LogFormat>,
    /// A server elsewhere, such as https://palisade.example:8443
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// The file that holds an API token for that server
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The file that holds that server's root certificate
    #[arg(long, global = true, value_name = "FILE")]
    root: Option<PathBuf>,
    /// The fingerprint of that server's root certificate
    #[arg(long, global = true, value_name = "HEX")]
    root_fingerprint: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything: console and API, MQTT, custody of the keys
    Up(Up),
    /// Devices and their lives
    #[command(subcommand)]
    Device(device::Command),
    /// Enroll this machine as a device, with a claim
    Enroll(enroll::Enroll),
    /// Explain a decision before or after it is made
    Why(why::Why),
    /// What happened, newest first
    Events(events::Events),
    /// The policy in force
    #[command(subcommand)]
    Policy(policy::Command),
    /// Places
    #[command(subcommand)]
    Site(place::Site),
    /// Parts of places
    #[command(subcommand)]
    Zone(place::Zone),
    /// Types of devices
    #[command(subcommand)]
    Kind(place::Kind),
    /// People who may sign in
    #[command(subcommand)]
    Operator(operator::Command),
    /// Tokens for programs
    #[command(subcommand)]
    Token(token::Command),
    /// The record of what happened
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Who else watches the record
    #[command(subcommand)]
    Witness(witness::Command),
    /// The master key, and what unlocks it
    #[command(subcommand)]
    Key(key::Command),
    /// Copies of all that this installation is, and the way back
    #[command(subcommand)]
    Backup(backup::Command),
    /// Settings
    #[command(subcommand)]
    Config(config::Command),
    /// Check this installation
    Doctor,
    /// Write a completion script for a shell
    Completions(manual::Completions),
    /// Write the manual pages into a folder
    Man(manual::Man),
    /// Say which version this is
    Version,
    #[command(hide = true, subcommand)]
    Role(crate::role::Command),
}

/// Starts everything.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<IpAddr>,
    /// The port of console and API [default: 8443]
    #[arg(long, value_name = "PORT")]
    https_port: Option<u16>,
    /// The port of MQTT over TLS [default: 8883]
    #[arg(long, value_name = "PORT")]
    mqtt_port: Option<u16>,
    /// The oldest TLS that devices may speak, 1.3 or 1.2 [default: 1.3]
    #[arg(long, value_name = "VERSION")]
    mqtt_tls: Option<String>,
    /// Serve the gateway's counts to Prometheus there, in plain HTTP, such as 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// A name or address by which devices and browsers reach this server; may be repeated
    #[arg(long, value_name = "HOST")]
    name: Vec<String>,
    /// PostgreSQL instead of SQLite, such as postgres://palisade@db/palisade; one with a password
    /// belongs into palisade.toml, since others see the command line
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Open a port on loopback without TLS and with an open policy, on a broker of its own that no
    /// device is on: for suites that try what a broker does
    #[arg(long, value_name = "PORT")]
    insecure_test_listener: Option<u16>,
    #[command(flatten)]
    unlock: key::Unlock,
}

/// What a command works with.
pub(crate) struct Context {
    /// The settings.
    pub(crate) configuration: Configuration,
    /// Where data and remarks go.
    pub(crate) output: Output,
    /// What the environment and the flags said.
    told: Layers,
}

/// Parses the command line and does what it says.
pub(crate) fn run() -> Result<Exit, Failure> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            error.print()?;
            return Ok(if error.use_stderr() { Exit::Usage } else { Exit::Ok });
        }
    };
    if let Command::Role(command) = cli.command {
        return crate::role::run(command);
    }
    let (configuration, told) = configure(&cli).or_exit(Exit::Usage)?;
    crate::telemetry::start(&configuration.log.value, configuration.log_format.value, "palisade");
    let context = Context { configuration, output: Output::of(cli.global.json), told };
    match cli.command {
        Command::Up(up) => crate::up::run(&context, up.insecure_test_listener).map(|()| Exit::Ok),
        Command::Key(command) => key::run(&context, &command),
        Command::Backup(command) => backup::run(&context, &command),
        Command::Config(command) => config::run(&context, command),
        Command::Completions(command) => manual::completions(&command),
        Command::Man(command) => manual::man(&context, &command),
        Command::Version => manual::version(&context),
        Command::Ledger(ledger::Command::Verify(verify)) => ledger::verify(&context, &verify),
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(Box::pin(ask(&context, command)))
        }
    }
}

async fn ask(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Device(command) => device::run(context, command).await,
        Command::Enroll(enroll) => enroll::run(context, &enroll).await,
        Command::Why(why) => why::run(context, &why).await,
        Command::Events(events) => events::run(context, &events).await,
        Command::Policy(command) => policy::run(context, command).await,
        Command::Site(command) => place::site(context, command).await,
        Command::Zone(command) => place::zone(context, command).await,
        Command::Kind(command) => place::kind(context, command).await,
        Command::Operator(command) => operator::run(context, command).await,
        Command::Token(command) => token::run(context, command).await,
        Command::Ledger(command) => ledger::run(context, command).await,
        Command::Witness(command) => witness::run(context, command).await,
        Command::Doctor => doctor::run(context).await,
        Command::Up(_)
        | Command::Key(_)
        | Command::Backup(_)
        | Command::Config(_)
        | Command::Completions(_)
        | Command::Man(_)
        | Command::Version
        | Command::Role(_) => Err(Failure::new(Exit::Usage, "this command asks no server")),
    }
}

/// Reads all settings; gives them with those alone that the environment and the flags said.
fn configure(cli: &Cli) -> Result<(Configuration, Layers), configuration::ConfigurationError> {
    let global = &cli.global;
    let path = |path: &Option<PathBuf>| path.iter().map(|p| p.display().to_string()).collect();
    let mut outer = Layers::default();
    outer.environment(configuration::environment())?;
    outer.flag(Key::Data, path(&global.data));
    let data = outer.data().unwrap_or_else(configuration::default_data);
    let data = std::path::absolute(&data).unwrap_or(data);
    let mut layers = outer;
    let format = global.log.and_then(|log| clap::ValueEnum::to_possible_value(&log));
    layers.flag(Key::LogFormat, format.map(|value| value.get_name().into()).into_iter().collect());
    layers.flag(Key::Server, global.server.clone().into_iter().collect());
    layers.flag(Key::TokenFile, path(&global.token_file));
    layers.flag(Key::Root, path(&global.root));
    layers.flag(Key::RootFingerprint, global.root_fingerprint.clone().into_iter().collect());
    if let Command::Up(up) = &cli.command {
        let text = |value: Option<u16>| value.map(|v| v.to_string()).into_iter().collect();
        layers.flag(Key::Listen, up.listen.map(|ip| ip.to_string()).into_iter().collect());
        layers.flag(Key::HttpsPort, text(up.https_port));
        layers.flag(Key::MqttPort, text(up.mqtt_port));
        layers.flag(Key::MqttTls, up.mqtt_tls.clone().into_iter().collect());
        let metrics = up.metrics.map(|address| address.to_string());
        layers.flag(Key::Metrics, metrics.into_iter().collect());
        layers.flag(Key::Name, up.name.clone());
        layers.flag(Key::Store, up.store.clone().into_iter().collect());
        up.unlock.lay(&mut layers);
    }
    if let Command::Key(key::Command::Rewrap(rewrap)) = &cli.command {
        rewrap.unlock.lay(&mut layers);
    }
    if let Command::Backup(backup) = &cli.command
        && let Some(unlock) = backup.unlock()
    {
        unlock.lay(&mut layers);
    }
    let mut all = Layers::default();
    all.file(&Folder::at(&data).configuration())?;
    all.lay(&layers);
    let mut configuration = all.assemble(data.clone())?;
    configuration.data.value = data;
    Ok((configuration, layers))
}

impl Context {
    /// Names the data folder.
    pub(crate) fn folder(&self) -> Folder {
        Folder::at(&self.configuration.data.value)
    }

    /// Reads all settings as they are with another file's text in the place of the folder's own.
    pub(crate) fn configured_with(
        &self,
        text: &str,
        path: &std::path::Path,
    ) -> Result<Configuration, configuration::ConfigurationError> {
        let mut layers = Layers::default();
        layers.toml(text, path)?;
        layers.lay(&self.told);
        layers.assemble(self.configuration.data.value.clone())
    }

    /// Makes ready to talk to the server: the one on this machine, or the one that was named.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let Some(server) = &self.configuration.server.value else {
            return Ok(Client::local(self.folder().socket()));
        };
        let pin = self.pin()?.ok_or_else(|| {
            let text = "name the server's root with --root FILE or --root-fingerprint HEX; \
                        `palisade up` prints the fingerprint on that machine";
            Failure::new(Exit::Usage, text)
        })?;
        let token = self.configuration.token_file.value.as_ref();
        let token = token.map(|path| secret_line(path)).transpose()?;
        Ok(Client::remote(Place::remote(server, pin)?, token))
    }

    fn pin(&self) -> Result<Option<Pin>, Failure> {
        if let Some(fingerprint) = self.configuration.root_fingerprint.value {
            return Ok(Some(Pin::Fingerprint(fingerprint)));
        }
        let Some(path) = &self.configuration.root.value else { return Ok(None) };
        let pem = std::fs::read(path).map_err(|e| {
            Failure::new(Exit::Usage, format!("cannot read `{}`: {e}", path.display()))
        })?;
        Pin::of_pem(&pem).map(Some)
    }
}

/// Reads a file that holds one line of secret text.
pub(crate) fn secret_line(path: &std::path::Path) -> Result<Zeroizing<String>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::new(Exit::Usage, format!("cannot read `{}`: {e}", path.display())))?;
    let text = Zeroizing::new(text);
    match text.trim() {
        "" => Err(Failure::new(Exit::Usage, format!("`{}` is empty", path.display()))),
        line => Ok(Zeroizing::new(line.to_string())),
    }
}

fn exit_codes() -> String {
    let lines = Exit::ALL.map(|exit| format!("  {:2}  {}", exit.code(), exit.text()));
    format!("Exit codes:\n{}", lines.join("\n"))
}

/// Gives the whole command line's description, for completions and manual pages.
fn description() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests;
