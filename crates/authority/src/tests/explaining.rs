//! How decisions are explained.

use super::*;

#[test]
fn a_grant_shows_its_rule() {
    check(
        &pump(),
        Publish,
        "plant-a/pump/pump-7/status",
        expect![[r#"
        allow: `pump-7` may publish to `plant-a/pump/pump-7/status`: a rule grants this (`devices-report-as-themselves`)
        namespace status: site=plant-a kind=pump device=pump-7

        devices-report-as-themselves (line 25):
        @id("devices-report-as-themselves")
        permit (principal, action == Action::"publish", resource)
        when { resource in [Namespace::"telemetry", Namespace::"status"] }
        when { resource has device && resource.device == principal }
        when { resource has kind && resource.kind == principal.kind }
        when { resource has site && resource.site == principal.site };
        posture 0, policy 1"#]],
    );
}

#[test]
fn a_denial_says_what_would_have_to_be_otherwise() {
    check(
        &pump(),
        Publish,
        "plant-a/pump/pump-8/telemetry/temp",
        expect![[r#"
            deny: `pump-7` may not publish to `plant-a/pump/pump-8/telemetry/temp`: no rule grants this
            namespace telemetry: site=plant-a kind=pump device=pump-8
            - `devices-report-as-themselves` (line 25) would grant it if `resource.device == principal`
            posture 0, policy 1"#]],
    );
}

#[test]
fn a_filter_that_leaves_the_device_open_is_told_so() {
    check(
        &pump(),
        Subscribe,
        "plant-a/pump/+/command/#",
        expect![[r#"
            deny: `pump-7` may not subscribe to `plant-a/pump/+/command/#`: no rule grants this
            namespace command: site=plant-a kind=pump
            - `devices-hear-their-commands` (line 35) would grant it if `resource.device == principal`
            - `applications-see-their-site` (line 47) would grant it if `principal in Kind::"application"` and `resource in [Namespace::"telemetry", Namespace::"status"]`
            posture 0, policy 1"#]],
    );
}

#[test]
fn what_nobody_is_granted_is_told_so() {
    let authority = Authority::compile(&set("")).unwrap();
    let explanation = authority.explain(&Request::connect(&pump()));
    expect![[r#"
        deny: `pump-7` may not connect: no rule grants this
        - no rule grants anybody to connect
        posture 0, policy 7"#]]
    .assert_eq(&explanation.to_string());
}

#[test]
fn a_topic_of_no_namespace_is_told_the_shapes_there_are() {
    check(
        &pump(),
        Publish,
        "pump-7/temp",
        expect![[r#"
        deny: `pump-7` may not publish to `pump-7/temp`: the topic is in no declared namespace
        - `telemetry` is `plant-a/pump/pump-7/telemetry/#` for this device
        - `status` is `plant-a/pump/pump-7/status` for this device
        - `command` is `plant-a/pump/pump-7/command/#` for this device
        posture 0, policy 1"#]],
    );
    check(
        &pump(),
        Subscribe,
        "#",
        expect![[r#"
        deny: `pump-7` may not subscribe to `#`: the filter is wider than one namespace
        - `telemetry` is `plant-a/pump/pump-7/telemetry/#` for this device
        - `status` is `plant-a/pump/pump-7/status` for this device
        - `command` is `plant-a/pump/pump-7/command/#` for this device
        posture 0, policy 1"#]],
    );
}

#[test]
fn quarantine_says_since_when_by_whom_and_why() {
    let mut pump = pump();
    let since = Time::from_seconds(1_795_257_000);
    pump.posture.hold(Fact::quarantine(true, "ada", since, Some("odd traffic")));
    check(
        &pump,
        Connect,
        "",
        expect![[r#"
        deny: `pump-7` may not connect: the device is in quarantine (`quarantine-cuts-off`)
        - in quarantine since 2026-11-21T10:30:00.000Z by ada: odd traffic; recover it to end that

        quarantine-cuts-off (line 12):
        @id("quarantine-cuts-off")
        @cause("quarantined")
        forbid (principal, action, resource)
        when { principal.posture has quarantine && principal.posture.quarantine };
        posture 1, policy 1"#]],
    );
}

#[test]
fn a_device_out_of_service_is_told_its_stage() {
    let retired = DeviceStanding { stage: Stage::Retired, ..pump() };
    check(
        &retired,
        Connect,
        "",
        expect![[r#"
        deny: `pump-7` may not connect: the device is not in service
        - its stage is `retired`; only `claimed` and `active` devices are in service
        posture 0, policy 1"#]],
    );
}

#[test]
fn a_failed_rule_is_shown_with_its_error() {
    let policy =
        set("forbid(principal, action, resource)\nunless { 9223372036854775807 + 1 > 0 };");
    let authority = Authority::compile(&policy).unwrap();
    expect![[r#"
        deny: `pump-7` may not connect: a rule could not be evaluated (`policy0`)
        - mend the rule: one that may forbid and fails denies
        ! error while evaluating policy `policy0`: integer overflow while attempting to add the values `9223372036854775807` and `1`

        policy0 (line 1):
        forbid(principal, action, resource)
        unless { 9223372036854775807 + 1 > 0 };
        posture 0, policy 7"#]].assert_eq(&authority.explain(&Request::connect(&pump())).to_string());
}

#[test]
fn a_rule_is_found_at_its_line_though_a_comment_says_the_same() {
    let rule = "permit(principal, action, resource);";
    let authority = Authority::compile(&set(
        &format!("// was: {rule}\n/{rule}\n\n{rule}").replace("\n/", "\n// ")
    ))
    .unwrap();
    let explanation = authority.explain(&Request::connect(&pump()));
    assert_eq!((explanation.policies[0].line, &*explanation.policies[0].source), (4, rule));
}

fn check(device: &DeviceStanding, action: Action, topic: &str, expect: Expect) {
    let topic = Some(topic).filter(|_| action != Connect);
    let request = Request::of(device, action, topic).unwrap();
    let (explanation, decision) =
        with_starter(|authority| (authority.explain(&request), authority.decide(&request, id())));
    assert_eq!((explanation.cause, explanation.epoch), (decision.cause, decision.epoch));
    expect.assert_eq(&explanation.to_string());
}
