//! What the command line takes, refuses and says.

use super::*;

fn parse(line: &str) -> Result<Cli, String> {
    let words = line.split_whitespace();
    Cli::try_parse_from(words).map_err(|error| error.to_string())
}

#[test]
fn the_command_line_describes_itself_without_contradiction() {
    description().debug_assert();
}

#[test]
fn nouns_and_verbs_are_these() {
    let mut lines = Vec::new();
    for noun in description().get_subcommands().filter(|noun| !noun.is_hide_set()) {
        let verbs: Vec<_> = noun.get_subcommands().map(|verb| verb.get_name()).collect();
        lines.push(format!("{} {}", noun.get_name(), verbs.join("|")).trim_end().to_string());
    }
    expect_test::expect![[r#"
        up
        device add|list|show|claim|revoke|quarantine|recover|retire|events
        enroll
        why
        events
        policy show|check|set|history
        site add|list
        zone add|list
        kind add|list
        operator add|list|remove
        token make|list|revoke
        ledger verify|show|checkpoint|key|witness
        witness add|list|remove
        key show|rewrap
        backup create|verify|restore
        config show
        doctor
        completions
        man
        version"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn lines_from_the_manual_parse() {
    let lines = [
        "palisade up",
        "palisade up --data /tmp/x --listen 0.0.0.0 --https-port 0 --mqtt-port 0 --name a --name b",
        "palisade device add pump-7 --kind pump --zone plant-a --label line=3 --json",
        "palisade --data /tmp/x device list pump --stage active --attention any --limit 0",
        "palisade device revoke pump-7 --reason stolen",
        "palisade enroll --server https://localhost:8443 --claim - --out pump-7",
        "palisade why pump-7 publish plant-a/pump/pump-7/telemetry/t",
        "palisade why d-0123456789abcdef",
        "palisade events --follow --device pump-7 --json",
        "palisade policy set policy.cedar --namespaces namespaces.toml",
        "palisade operator add ada --role administrator",
        "palisade token make ci --role viewer --days 7 --out token",
        "palisade ledger verify /tmp/x/control/ledger --key key.txt --witness checkpoint",
        "palisade ledger witness --state /tmp/w --key key.txt --every 10",
        "palisade up --tpm --tpm-pcrs 7,11",
        "palisade up --pkcs11-module /x.so --pkcs11-token palisade --pkcs11-pin-file /x",
        "palisade key rewrap --to-tpm",
        "palisade key rewrap --tpm=tabrmd --to-passphrase-file /x --out recovery.key",
        "palisade backup create a.backup --backup-passphrase-file p --tpm",
        "palisade backup verify a.backup --backup-passphrase-file p --json",
        "palisade backup restore a.backup --backup-passphrase-file p --data x --ledger l --witness w",
        "palisade config show --origin",
        "palisade doctor --json",
        "palisade completions bash",
    ];
    for line in lines {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn what_is_missing_is_named() {
    let error = parse("palisade device add pump-7 --zone plant-a").unwrap_err();
    assert!(error.contains("--kind <KIND>"), "{error}");
    let error = parse("palisade device add p --kind k --zone z --label line").unwrap_err();
    assert!(error.contains("a label looks like `line=3`"), "{error}");
    assert!(parse("palisade device delete pump-7").unwrap_err().contains("unrecognized"));
}

#[test]
fn flags_reach_the_configuration() {
    let cli = parse("palisade up --https-port 9443 --name palisade.example --data /tmp/x").unwrap();
    let (configuration, _) = configure(&cli).unwrap();
    assert_eq!(configuration.https_port.value, 9443);
    assert_eq!(configuration.name.value.len(), 1);
    assert_eq!(configuration.data.value, std::path::Path::new("/tmp/x"));
    assert_eq!(configuration.data.origin, configuration::Origin::Flag("--data".into()));
}
