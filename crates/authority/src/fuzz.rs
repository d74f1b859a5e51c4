//! What a fuzz target calls: any text compiles to a policy that decides, or gives problems that
//! say where.

use identity::{Fingerprint, KindId, SiteId, Stage, ZoneId};
use policy::{DecisionId, DeviceStanding, Labels, PolicySet, Posture, Request};

use crate::problem::MAX_TEXT;
use crate::{Authority, starter};

/// Compiles a policy over the starter's namespaces; if it compiles, it decides and explains.
pub fn policy(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let namespaces = starter::policy().namespaces;
    let authority =
        Authority::compile(&PolicySet { version: 1, source: source.to_owned(), namespaces });
    let authority = match authority {
        Ok(authority) => authority,
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(problem.line > 0, "{problem:?}");
                assert!(
                    !problem.text.is_empty() && problem.text.chars().count() <= MAX_TEXT + 1,
                    "{problem:?}"
                );
                assert!(!problem.text.chars().any(char::is_control), "{problem:?}");
            }
            return;
        }
    };
    let pump = pump();
    for request in [
        Request::connect(&pump),
        Request::publish(&pump, "plant-a/pump/pump-7/status", true),
        Request::subscribe(&pump, "plant-a/pump/pump-7/command/#"),
    ] {
        let decision = authority.decide(&request, DecisionId::from_random([3; 10]));
        let explanation = authority.explain(&request);
        assert_eq!(explanation.cause, decision.cause);
    }
}

/// A pump in hall 1 of plant A.
fn pump() -> DeviceStanding {
    let plain = "a plain name";
    DeviceStanding {
        id: "pump-7".parse().expect(plain),
        kind: "pump".parse::<KindId>().expect(plain).into(),
        zone: "hall-1".parse::<ZoneId>().expect(plain).into(),
        site: "plant-a".parse::<SiteId>().expect(plain).into(),
        stage: Stage::Active,
        labels: Labels::default(),
        posture: Posture::default(),
        certificates: vec![Fingerprint::of_der(b"pump-7")],
    }
}
