//! Reading, checking and changing the policy; asking why.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{Path, State};
use identity::DeviceId;
use policy::{Action, DecisionId, Effect, Namespaces, PolicySet, Request};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Rules, decisions};
use crate::body::{Json, Query};
use crate::centre::{Centre, Moved};
use crate::fuzz::{self, Read};
use crate::people::{AsAdministrator, AsViewer};
use crate::problem::Problem;
use crate::record::{Actor, Draft};
use crate::registry::device;

/// All routes about policy.
pub(crate) fn routes() -> OpenApiRouter<Arc<Centre>> {
    OpenApiRouter::new()
        .routes(routes!(policy, change))
        .routes(routes!(check))
        .routes(routes!(why))
        .routes(routes!(decision))
}

#[derive(Serialize, ToSchema)]
struct PolicyView {
    version: u64,
    /// Cedar.
    source: String,
    namespaces: Vec<NamespaceView>,
    changed: String,
    by: String,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NamespaceView {
    name: String,
    template: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Change {
    source: String,
    namespaces: Vec<NamespaceView>,
    /// The version that was read before it was changed.
    expected_version: u64,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Proposal {
    source: String,
    namespaces: Vec<NamespaceView>,
}

#[derive(Serialize, ToSchema)]
struct Checked {
    ok: bool,
    problems: Vec<ProblemView>,
    warnings: Vec<ProblemView>,
}

#[derive(Serialize, ToSchema)]
struct ProblemView {
    /// None where it lies in the namespaces.
    line: Option<u32>,
    column: Option<u32>,
    text: String,
}

/// A decision with its reasons.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Explained {
    /// `allow` or `deny`.
    pub(crate) effect: String,
    pub(crate) cause: String,
    pub(crate) text: String,
    pub(crate) policies: Vec<Deciding>,
    pub(crate) namespace: Option<String>,
    pub(crate) binding: BTreeMap<String, String>,
    /// What would have to change, in words.
    pub(crate) advice: Vec<String>,
    pub(crate) device: String,
    pub(crate) action: String,
    pub(crate) topic: Option<String>,
    /// The version of the policy and the epoch of the posture that it was made over.
    pub(crate) epoch: EpochView,
    pub(crate) decision: Option<String>,
    pub(crate) at: Option<String>,
    pub(crate) count: Option<u64>,
}

/// Over what a decision was made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct EpochView {
    pub(crate) policy: u64,
    pub(crate) posture: u64,
}

/// A policy that decided.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Deciding {
    pub(crate) id: String,
    /// `permit` or `forbid`.
    pub(crate) effect: String,
    pub(crate) line: u32,
    pub(crate) source: String,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Why {
    device: String,
    /// `connect`, `publish`, `subscribe` or `receive`.
    action: String,
    /// A topic, or a filter for `subscribe`; absent for `connect`.
    topic: Option<String>,
}

/// Gives the policy in force.
#[utoipa::path(get, path = "/v1/policy", tag = "policy", responses((status = 200, body = PolicyView)))]
async fn policy(State(centre): State<Arc<Centre>>, AsViewer(_who): AsViewer) -> Answer<PolicyView> {
    let rules = Arc::clone(&centre.rules.borrow());
    Answer(view(&rules))
}

fn view(rules: &Rules) -> PolicyView {
    let namespace = |n: &policy::Namespace| NamespaceView {
        name: n.name().to_owned(),
        template: n.template().to_owned(),
    };
    PolicyView {
        version: rules.policy.version,
        source: rules.policy.source.clone(),
        namespaces: rules.policy.namespaces.iter().map(namespace).collect(),
        changed: rules.changed.to_string(),
        by: rules.changed_by.clone(),
    }
}

/// Says what is wrong with a policy, without changing anything.
#[utoipa::path(post, path = "/v1/policy/check", tag = "policy", request_body = Proposal,
    responses((status = 200, body = Checked)))]
async fn check(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
    Json(body): Json<Proposal>,
) -> Answer<Checked> {
    // One at a time, so that those who try cannot keep those who change from the cores.
    static ONE: Semaphore = Semaphore::const_new(1);
    let _turn = ONE.acquire().await;
    let version = centre.rules.borrow().policy.version;
    match compile(version.saturating_add(1), body.source, body.namespaces).await {
        Ok(rules) => {
            let warnings = rules.1.warnings().iter().map(problem_view).collect();
            Answer(Checked { ok: true, problems: Vec::new(), warnings })
        }
        Err(problems) => Answer(Checked { ok: false, problems, warnings: Vec::new() }),
    }
}

fn problem_view(problem: &authority::Problem) -> ProblemView {
    let (line, column) = (Some(problem.line), Some(problem.column));
    ProblemView { line, column, text: problem.text.clone() }
}

/// Compiles a policy. A large one takes half a second of a core: not on a thread that serves others.
async fn compile(
    version: u64,
    source: String,
    namespaces: Vec<NamespaceView>,
) -> Result<(PolicySet, authority::Authority), Vec<ProblemView>> {
    let general = |text: String| vec![ProblemView { line: None, column: None, text }];
    let compiling = move || {
        let namespaces = parse(&namespaces).map_err(|error| general(error.to_string()))?;
        let policy = PolicySet { version, source, namespaces };
        let compiled = authority::Authority::compile(&policy);
        let authority =
            compiled.map_err(|problems| problems.iter().map(problem_view).collect::<Vec<_>>())?;
        Ok((policy, authority))
    };
    spawn_blocking(compiling).await.unwrap_or_else(|error| Err(general(error.to_string())))
}

fn parse(namespaces: &[NamespaceView]) -> Result<Namespaces, policy::namespace::NamespaceError> {
    Namespaces::parse(namespaces.iter().map(|n| (n.name.as_str(), n.template.as_str())))
}

/// Puts a new policy in force everywhere, at once.
#[utoipa::path(put, path = "/v1/policy", tag = "policy", request_body = Change,
    responses((status = 200, body = PolicyView), (status = 400, body = Problem), (status = 409, body = Problem)))]
async fn change(
    State(centre): State<Arc<Centre>>,
    AsAdministrator(principal): AsAdministrator,
    Json(body): Json<Change>,
) -> Result<Answer<PolicyView>, Problem> {
    let next = body.expected_version.saturating_add(1);
    let compiled = compile(next, body.source, body.namespaces).await;
    let (policy, authority) = compiled.map_err(|problems| {
        let lines = problems.iter().map(|p| match p.line {
            Some(line) => format!("line {line}: {}", p.text),
            None => p.text.clone(),
        });
        Problem::malformed(lines.collect::<Vec<_>>().join("; "))
    })?;
    let now = centre.now();
    let by = match &principal.actor {
        Actor::Operator(name) | Actor::Token(name) => name.clone(),
        Actor::Device(id) => id.to_string(),
        Actor::System(name) => (*name).to_owned(),
    };
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    let row = c.row("select max(version) from policy", Vec::new()).await?;
    let version =
        row.map(|row| row.get::<Option<i64>>(0)).transpose()?.flatten().unwrap_or_default();
    if u64::try_from(version) != Ok(body.expected_version) {
        return Err(Problem::conflict(format!(
            "the policy is at version {version} by now; read it and make your change again"
        )));
    }
    super::insert(&mut c, &policy, &by, now).await?;
    let draft = Draft::new("policy.changed", &principal.actor).with("version", policy.version);
    centre.note(&mut c, draft, now).await?;
    write.commit().await?;
    let rules = Arc::new(Rules { policy, authority, changed: now, changed_by: by });
    centre.rules.send_replace(Arc::clone(&rules));
    centre.recorder.committed();
    let _ = centre.moved.send(Moved::Policy).await;
    Ok(Answer(view(&rules)))
}

/// Explains what would be decided, before it happens.
#[utoipa::path(get, path = "/v1/why", tag = "policy", params(Why),
    responses((status = 200, body = Explained), (status = 400, body = Problem), (status = 404, body = Problem)))]
async fn why(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
    Query(why): Query<Why>,
) -> Result<Answer<Explained>, Problem> {
    let (id, action) = why.parsed()?;
    let standing = device::standing(&mut centre.store.read().await?.connection(), &id).await?;
    let standing = standing.ok_or_else(|| Problem::not_found("device", &id))?;
    let request =
        Request::of(&standing, action, why.topic.as_deref()).map_err(Problem::malformed)?;
    let rules = Arc::clone(&centre.rules.borrow());
    Ok(Answer(explain(&rules.authority, &request, &id)))
}

impl Why {
    fn parsed(&self) -> Result<(DeviceId, Action), Problem> {
        let id = self.device.parse().map_err(Problem::malformed)?;
        Ok((id, self.action.parse().map_err(Problem::malformed)?))
    }
}

/// Explains a request in the form that people and programs read.
pub(crate) fn explain(
    authority: &authority::Authority,
    request: &Request<'_>,
    id: &DeviceId,
) -> Explained {
    let explanation = authority.explain(request);
    let deciding = |p: &authority::Deciding| Deciding {
        id: p.id.to_string(),
        effect: match p.effect {
            Effect::Allow => "permit".to_owned(),
            Effect::Deny => "forbid".to_owned(),
        },
        line: p.line,
        source: p.source.to_string(),
    };
    Explained {
        effect: effect(explanation.effect()).to_owned(),
        cause: explanation.cause.as_str().to_owned(),
        text: explanation.text.clone(),
        policies: explanation.policies.iter().map(deciding).collect(),
        namespace: explanation.namespace.as_deref().map(str::to_owned),
        binding: super::binding_map(&explanation.binding),
        advice: explanation.advice.clone(),
        device: id.to_string(),
        action: request.ask.action().as_str().to_owned(),
        topic: request.ask.topic().map(str::to_owned),
        epoch: EpochView { policy: explanation.epoch.policy, posture: explanation.epoch.posture },
        decision: None,
        at: None,
        count: None,
    }
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    }
}

/// Explains a decision that was made.
#[utoipa::path(get, path = "/v1/decisions/{id}", tag = "policy", params(("id" = String, Path)),
    responses((status = 200, body = Explained), (status = 404, body = Problem)))]
async fn decision(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
    Path(id): Path<String>,
) -> Result<Answer<Explained>, Problem> {
    let parsed: DecisionId = id.parse().map_err(Problem::malformed)?;
    let found = decisions::find(&mut centre.store.read().await?.connection(), parsed).await?;
    found.map(Answer).ok_or_else(|| Problem::not_found("decision", id))
}

/// What these routes read, as far as they read it without the store; policies have their own target.
pub(crate) const READS: &[Read] = &[
    ("PUT /v1/policy", |bytes| {
        let change = fuzz::body::<Change>(bytes)?;
        parse(&change.namespaces).map(drop).map_err(Problem::malformed)
    }),
    ("POST /v1/policy/check", |bytes| {
        let proposal = fuzz::body::<Proposal>(bytes)?;
        parse(&proposal.namespaces).map(drop).map_err(Problem::malformed)
    }),
    ("GET /v1/why", |bytes| fuzz::query::<Why>(bytes)?.parsed().map(drop)),
];
