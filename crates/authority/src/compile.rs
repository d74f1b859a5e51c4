//! From a policy's text to something that decides.

use cedar_policy::{PolicySet as CedarSet, ValidationError, ValidationMode, Validator};
use policy::posture::QUARANTINE;
use policy::{Effect, PolicySet};

use crate::bound;
use crate::mention::{misnamed, reads_fact};
use crate::problem::Problem;
use crate::rule::{self, Rule};
use crate::schema::schema;

/// Rules that were checked, and what may not have been meant.
pub(crate) struct Compiled {
    pub(crate) rules: Vec<Rule>,
    pub(crate) warnings: Vec<Problem>,
}

/// Reads and checks a policy.
pub(crate) fn compile(set: &PolicySet) -> Result<Compiled, Vec<Problem>> {
    bound::check_text(&set.source).map_err(|problem| vec![problem])?;
    bound::with_stack(|| check(set))
}

fn check(set: &PolicySet) -> Result<Compiled, Vec<Problem>> {
    let source = set.source.as_str();
    let schema = schema(&set.namespaces).map_err(|text| vec![Problem::at(source, 0, text)])?;
    let parsed: CedarSet = source.parse().map_err(|errors: cedar_policy::ParseErrors| {
        errors.iter().map(|e| Problem::of(source, e)).collect::<Vec<_>>()
    })?;
    let rules = rule::read(source, &parsed)?;
    let too_deep: Vec<Problem> =
        rules.iter().filter_map(|rule| bound::check_rule(source, rule)).collect();
    if !too_deep.is_empty() {
        return Err(too_deep);
    }
    let misnamed: Vec<Problem> = rules
        .iter()
        .filter_map(|rule| {
            Some(Problem::at(source, rule.offset, misnamed(&rule.json, &set.namespaces)?))
        })
        .collect();
    if !misnamed.is_empty() {
        return Err(misnamed);
    }
    // Level 1: attributes of the principal and the resource, not of what those refer to, because
    // a decision is made without asking anybody for another device's standing.
    let named = CedarSet::from_policies(rules.iter().map(|rule| rule.policy.clone()))
        .map_err(|error| vec![Problem::at(source, 0, error.to_string())])?;
    let result = Validator::new(schema).validate_with_level(&named, ValidationMode::Strict, 1);
    let mut problems: Vec<Problem> =
        result.validation_errors().map(|error| invalid(source, error)).collect();
    if !problems.is_empty() {
        problems.sort_by_key(|problem| (problem.line, problem.column));
        return Err(problems);
    }
    let mut warnings: Vec<Problem> =
        result.validation_warnings().map(|w| Problem::of(source, w)).collect();
    let heeds_quarantine =
        |rule: &Rule| rule.effect() == Effect::Deny && reads_fact(&rule.json, QUARANTINE);
    if !rules.iter().any(heeds_quarantine) {
        let text =
            "no `forbid` reads `principal.posture.quarantine`; quarantine would cut no device off";
        warnings.push(Problem::at(source, 0, text));
    }
    Ok(Compiled { rules, warnings })
}

fn invalid(source: &str, error: &ValidationError) -> Problem {
    let problem = Problem::of(source, error);
    match error {
        ValidationError::EntityDerefLevelViolation(_) => Problem {
            text: "what is known of another device, zone or kind is not known here; \
                   compare it with `==`, or ask the principal itself"
                .to_string(),
            ..problem
        },
        _ => problem,
    }
}
