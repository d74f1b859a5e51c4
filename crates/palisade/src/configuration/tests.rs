//! Where settings come from, and what is refused.

use super::*;

const FILE: &str = "/data/palisade.toml";

fn layers(toml: &str, environment: &[(&str, &str)]) -> Result<Layers, ConfigurationError> {
    let mut layers = Layers::default();
    layers.toml(toml, Path::new(FILE))?;
    layers.environment(environment.iter().map(|(k, v)| (k.to_string(), v.to_string())))?;
    Ok(layers)
}

fn assemble(layers: &Layers) -> Configuration {
    layers.assemble(PathBuf::from("/data")).unwrap()
}

#[test]
fn without_anything_said_the_defaults_hold() {
    let configuration = assemble(&Layers::default());
    assert_eq!(configuration.https_port, Setting { value: 8443, origin: Origin::Default });
    assert_eq!(configuration.mqtt_port.value, 8883);
    assert!(configuration.listen.value.is_loopback());
    assert_eq!(configuration.data.value, Path::new("/data"));
    assert_eq!(configuration.store.value, None);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let mut layers = layers(
        "https_port = 1\nmqtt_port = 2\nlisten = \"::1\"\n",
        &[("PALISADE_HTTPS_PORT", "3"), ("PALISADE_MQTT_PORT", "4"), ("HOME", "/root")],
    )
    .unwrap();
    layers.flag(Key::HttpsPort, vec!["5".into()]);
    layers.flag(Key::Listen, Vec::new());
    let configuration = assemble(&layers);
    let flag = Setting { value: 5, origin: Origin::Flag("--https-port".into()) };
    assert_eq!(configuration.https_port, flag);
    let variable = Origin::Environment("PALISADE_MQTT_PORT".into());
    assert_eq!(configuration.mqtt_port, Setting { value: 4, origin: variable });
    assert_eq!(configuration.listen.origin, Origin::File(FILE.into()));
}

#[test]
fn names_come_as_a_list_from_each_source() {
    let file = layers("name = [\"palisade.example\", \"192.0.2.7\"]", &[]).unwrap();
    let one = layers("name = \"palisade.example\"", &[]).unwrap();
    let variable = layers("", &[("PALISADE_NAME", "palisade.example, 192.0.2.7")]).unwrap();
    let names = |layers: &Layers| assemble(layers).name.value;
    assert_eq!(names(&file).len(), 2);
    assert_eq!(names(&file), names(&variable));
    assert_eq!(names(&one).len(), 1);
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_known_one() {
    let error = layers("https-prot = 8443", &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`https-prot` in `/data/palisade.toml` is no setting; did you mean `https_port`?"
    );
    let error = layers("", &[("PALISADE_MQTTPORT", "1")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`PALISADE_MQTTPORT` in the environment is no setting; did you mean `PALISADE_MQTT_PORT`?"
    );
}

#[test]
fn the_file_cannot_say_where_it_lies_itself() {
    assert!(matches!(layers("data = \"/x\"", &[]), Err(ConfigurationError::Unknown { .. })));
}

#[test]
fn a_value_of_the_wrong_shape_names_who_gave_it() {
    let refused = |toml: &str, environment: &[(&str, &str)]| {
        layers(toml, environment).unwrap().assemble("/data".into()).unwrap_err().to_string()
    };
    assert_eq!(
        refused("https_port = 70000", &[]),
        "`/data/palisade.toml` gives `https_port` the value `70000`; \
         a port is a number from 0 to 65535; 0 takes a free one"
    );
    assert_eq!(
        refused("", &[("PALISADE_LOG_FORMAT", "xml")]),
        "$PALISADE_LOG_FORMAT gives `log_format` the value `xml`; `human` or `json` was expected"
    );
    assert!(refused("name = [\"a b\"]", &[]).contains("host name"));
    assert!(refused("listen = [\"::1\", \"::2\"]", &[]).contains("::1, ::2"));
}

#[test]
fn a_file_that_is_not_toml_is_one_line() {
    let error = layers("https_port = = 1", &[]).unwrap_err().to_string();
    assert!(error.starts_with("`/data/palisade.toml` is not TOML"), "{error}");
    assert!(!error.contains('\n'));
}

#[test]
fn a_line_that_is_no_toml_is_placed_and_not_shown_for_it_may_hold_a_password() {
    let error = layers("https_port = 1\nstore = \"postgres://u:hunter2@db/x", &[]).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("line 2: ") && !error.contains("hunter2"), "{error}");
}

#[test]
fn what_is_quoted_of_a_setting_is_one_short_line() {
    let refuse = |toml: &str| match layers(toml, &[]) {
        Ok(layers) => layers.assemble("/data".into()).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    let long = "x".repeat(5000);
    for toml in [
        "listen = \"a\\nb\"".to_owned(),
        format!("listen = \"{long}\""),
        format!("\"a\\u001b{long}\" = 1"),
        format!("https_port = [{}]", "1,".repeat(5000)),
    ] {
        let error = refuse(&toml);
        assert!(error.len() < 400 && !error.chars().any(char::is_control), "{error}");
    }
}

#[test]
fn a_file_beyond_the_bound_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("palisade.toml");
    std::fs::write(&path, " ".repeat(MAX_FILE_BYTES)).unwrap();
    Layers::default().file(&path).unwrap();
    std::fs::write(&path, " ".repeat(MAX_FILE_BYTES + 1)).unwrap();
    let error = Layers::default().file(&path).unwrap_err();
    assert!(matches!(error, ConfigurationError::Unreadable { .. }), "{error}");
}
