//! The authority: a compiled policy that decides.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use cedar_policy::{
    AuthorizationError, Authorizer, Decision as CedarDecision, Policy, PolicyId,
    PolicySet as CedarSet,
};
use identity::Stage;
use policy::namespace::Variable;
use policy::{
    Action, Ask, Binding, Cause, Decision, DecisionId, DeviceStanding, Effect, Epoch, Namespaces,
    PolicySet, Request,
};

use crate::compile::{Compiled, compile};
use crate::mention::Mentions;
use crate::problem::Problem;
use crate::rule::Rule;
use crate::slice::{Slice, Types};

/// Decides requests by one version of the policy.
pub struct Authority {
    version: u64,
    namespaces: Namespaces,
    pub(crate) rules: Vec<Rule>,
    by_id: HashMap<PolicyId, usize>,
    // Invariant: one for the door, then for each action on topics one per namespace.
    indexes: Vec<Index>,
    warnings: Vec<Problem>,
    usable: bool,
    types: Types,
    authorizer: Authorizer,
    // Tells this authority from every other that lives, for whoever keeps its decisions.
    identity: Arc<()>,
}

/// The rules that may hold for an action in a namespace.
struct Index {
    policies: CedarSet,
    /// Which of the namespace's variables they read: one bit each, in the template's order.
    reads: u8,
}

/// What a request is about, found before any policy is asked.
pub(crate) struct Scope<'a> {
    pub(crate) binding: Option<Binding<'a>>,
    index: &'a Index,
}

/// Why, by which rules, and what went wrong.
pub(crate) struct Judgement {
    pub(crate) cause: Cause,
    /// In the order of the source.
    pub(crate) rule_idxs: Vec<usize>,
    pub(crate) errors: Vec<Box<str>>,
}

impl Authority {
    /// Reads a policy, checks it strictly against the schema, and says all that is to be mended.
    pub fn compile(set: &PolicySet) -> Result<Self, Vec<Problem>> {
        let Compiled { rules, warnings } = compile(set)?;
        let namespaces = set.namespaces.clone();
        let internal = |text: String| vec![Problem::at(&set.source, 0, text)];
        let mut indexes = vec![Index::of(&rules, Action::Connect, None).map_err(internal)?];
        for action in ON_TOPICS {
            for namespace in namespaces.iter() {
                let variables = namespace.variables();
                let index = Index::of(&rules, action, Some((namespace.name(), variables)))
                    .map_err(internal)?;
                indexes.push(index);
            }
        }
        let by_id =
            rules.iter().enumerate().map(|(idx, rule)| (rule.policy.id().clone(), idx)).collect();
        Ok(Self {
            version: set.version,
            namespaces,
            rules,
            by_id,
            indexes,
            warnings,
            usable: true,
            types: Types::new(),
            authorizer: Authorizer::new(),
            identity: Arc::new(()),
        })
    }

    /// Makes one that denies everything, for when a policy cannot be used here.
    pub fn closed(version: u64) -> Self {
        Self {
            version,
            namespaces: Namespaces::default(),
            rules: Vec::new(),
            by_id: HashMap::new(),
            indexes: Vec::new(),
            warnings: Vec::new(),
            usable: false,
            types: Types::new(),
            authorizer: Authorizer::new(),
            identity: Arc::new(()),
        }
    }

    /// Decides a request: total, pure, and closed where in doubt.
    pub fn decide(&self, request: &Request<'_>, id: DecisionId) -> Decision {
        match self.scope(request) {
            Ok(scope) => self.decide_in(&scope, request, id),
            Err(cause) => Decision::denied(id, cause, self.epoch(request.device)),
        }
    }

    /// Lends what compiles and may not have been meant.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Gives the version of the policy.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Lends the namespaces of the policy.
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    pub(crate) fn identity(&self) -> &Arc<()> {
        &self.identity
    }

    pub(crate) fn epoch(&self, device: &DeviceStanding) -> Epoch {
        Epoch { posture: device.posture.epoch, policy: self.version }
    }

    /// Finds what a request is about, or denies it before any policy is asked.
    pub(crate) fn scope<'a>(&'a self, request: &Request<'a>) -> Result<Scope<'a>, Cause> {
        if !self.usable {
            return Err(Cause::PolicyUnusable);
        }
        match request.device.stage {
            Stage::Claimed | Stage::Active => (),
            Stage::Manufactured | Stage::Retired => return Err(Cause::NotActive),
        }
        let binding = match request.ask {
            Ask::Connect => None,
            Ask::Publish { topic, .. } if topic.starts_with('$') => return Err(Cause::ServersOwn),
            Ask::Publish { topic, .. } | Ask::Receive { topic } => {
                Some(self.namespaces.resolve(topic).ok_or(Cause::NoNamespace)?)
            }
            Ask::Subscribe { filter } => match self.namespaces.resolve_filter(filter) {
                Some(binding) => Some(binding),
                None if self.namespaces.is_reached_by(filter) => return Err(Cause::TooWide),
                None => return Err(Cause::NoNamespace),
            },
        };
        let idx = index_of(request.ask.action(), binding.as_ref(), self.namespaces.len());
        // The invariant of `indexes` gives one for each; were it broken, nothing would be allowed.
        let index = self.indexes.get(idx).ok_or(Cause::PolicyUnusable)?;
        Ok(Scope { binding, index })
    }

    pub(crate) fn decide_in(
        &self,
        scope: &Scope<'_>,
        request: &Request<'_>,
        id: DecisionId,
    ) -> Decision {
        let Judgement { cause, rule_idxs, errors } = self.judge(scope, request);
        let policies =
            rule_idxs.iter().filter_map(|idx| Some(self.rules.get(*idx)?.id.clone())).collect();
        let namespace = scope.binding.as_ref().map(|binding| Box::from(binding.namespace().name()));
        Decision { id, cause, policies, errors, epoch: self.epoch(request.device), namespace }
    }

    pub(crate) fn judge(&self, scope: &Scope<'_>, request: &Request<'_>) -> Judgement {
        self.judge_by(&scope.index.policies, scope, request)
    }

    /// The same without the index: every rule is asked. For the test that both agree.
    #[cfg(test)]
    pub(crate) fn judge_by_all(&self, scope: &Scope<'_>, request: &Request<'_>) -> Judgement {
        let all =
            CedarSet::from_policies(self.rules.iter().map(|rule| rule.policy.clone())).unwrap();
        self.judge_by(&all, scope, request)
    }

    fn judge_by(&self, policies: &CedarSet, scope: &Scope<'_>, request: &Request<'_>) -> Judgement {
        let slice = match self.slice(scope, request) {
            Ok(slice) => slice,
            Err(error) => {
                return Judgement {
                    cause: Cause::PolicyError,
                    rule_idxs: Vec::new(),
                    errors: vec![error.into()],
                };
            }
        };
        let response = self.authorizer.is_authorized(&slice.request, policies, &slice.entities);
        let diagnostics = response.diagnostics();
        let errors = diagnostics.errors().map(|error| error.to_string().into()).collect();
        let mut reasons: Vec<usize> =
            diagnostics.reason().filter_map(|id| self.by_id.get(id)).copied().collect();
        reasons.sort_unstable();
        // A rule that forbids and holds says most; then one that might forbid and failed.
        let forbids = response.decision() == CedarDecision::Deny && !reasons.is_empty();
        if forbids {
            return Judgement { cause: self.cause_of(&reasons), rule_idxs: reasons, errors };
        }
        let failed = self.failed_forbids(diagnostics.errors());
        if !failed.is_empty() {
            return Judgement { cause: Cause::PolicyError, rule_idxs: failed, errors };
        }
        let cause = match response.decision() {
            CedarDecision::Allow => Cause::Granted,
            CedarDecision::Deny => Cause::NotGranted,
        };
        Judgement { cause, rule_idxs: reasons, errors }
    }

    /// Goes over the rules that may hold for a scope, in the order of the source.
    pub(crate) fn rules_of(&self, scope: &Scope<'_>) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| scope.index.policies.policy(rule.policy.id()).is_some())
    }

    /// Lays out a request as Cedar sees it.
    pub(crate) fn slice(&self, scope: &Scope<'_>, request: &Request<'_>) -> Result<Slice, String> {
        self.types.slice(request.device, &request.ask, scope.binding.as_ref())
    }

    /// Says whether a single policy permits a request.
    pub(crate) fn permits(&self, policy: Policy, slice: &Slice) -> bool {
        let policies = CedarSet::from_policies([policy]);
        policies.is_ok_and(|policies| {
            let response =
                self.authorizer.is_authorized(&slice.request, &policies, &slice.entities);
            response.decision() == CedarDecision::Allow
        })
    }

    fn cause_of(&self, rule_idxs: &[usize]) -> Cause {
        let causes = rule_idxs.iter().filter_map(|idx| Some(self.rules.get(*idx)?.cause));
        causes.max_by_key(|cause| *cause != Cause::Forbidden).unwrap_or(Cause::Forbidden)
    }

    fn failed_forbids<'e>(
        &self,
        errors: impl Iterator<Item = &'e AuthorizationError>,
    ) -> Vec<usize> {
        let mut failed = Vec::new();
        for AuthorizationError::PolicyEvaluationError(error) in errors {
            let Some(idx) = self.by_id.get(error.policy_id()) else { continue };
            if self.rules.get(*idx).is_some_and(|rule| rule.effect() == Effect::Deny) {
                failed.push(*idx);
            }
        }
        failed.sort_unstable();
        failed
    }
}

impl Scope<'_> {
    /// Goes over the values that the rules read, for keeping a decision: what else the topic
    /// binds makes no difference.
    pub(crate) fn read_values(&self) -> impl Iterator<Item = Option<&str>> {
        let slots = self.binding.iter().flat_map(Binding::slots).enumerate();
        slots.filter(|(idx, _)| self.index.reads >> idx & 1 == 1).map(|(_, value)| value)
    }
}

impl Index {
    fn of(
        rules: &[Rule],
        action: Action,
        namespace: Option<(&str, &[Variable])>,
    ) -> Result<Self, String> {
        let (name, variables) = namespace.unzip();
        let concerned: Vec<&Rule> =
            rules.iter().filter(|rule| rule.concerns(action, name)).collect();
        let policies = CedarSet::from_policies(concerned.iter().map(|rule| rule.policy.clone()))
            .map_err(|error| error.to_string())?;
        let mentions = concerned
            .iter()
            .fold(Mentions::default(), |all, rule| all.and(Mentions::of(&rule.json)));
        let mut reads = 0;
        for (idx, variable) in variables.unwrap_or_default().iter().enumerate() {
            let is_read = match variable {
                Variable::Site => mentions.site,
                Variable::Zone => mentions.zone,
                Variable::Kind => mentions.kind,
                Variable::Device => mentions.device,
                Variable::Text(_) => mentions.text,
            };
            reads |= u8::from(is_read) << idx;
        }
        Ok(Self { policies, reads })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "authority of version {} with {} rules", self.version, self.rules.len())
    }
}

/// Finds the index for an action: the door's, or that of the action and the namespace.
fn index_of(action: Action, binding: Option<&Binding<'_>>, n_namespaces: usize) -> usize {
    let row = match action {
        Action::Connect => return 0,
        Action::Publish => 0,
        Action::Subscribe => 1,
        Action::Receive => 2,
    };
    1 + row * n_namespaces + binding.map_or(0, |binding| binding.namespace().idx())
}

/// The actions that are on topics, in the order of `index_of`.
const ON_TOPICS: [Action; 3] = [Action::Publish, Action::Subscribe, Action::Receive];
