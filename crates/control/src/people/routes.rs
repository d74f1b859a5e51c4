//! Signing in and out, operators, and API tokens.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use identity::Time;
use serde::{Deserialize, Serialize};
use tracing::warn;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use super::access::{Address, AsAdministrator, AsViewer, COOKIE, Principal, Role, digest, secret};
use super::{keys, passwords, store};
use crate::body::Json;
use crate::centre::Centre;
use crate::fuzz::{self, Read};
use crate::policies;
use crate::problem::Problem;
use crate::record::{Actor, Draft, PERSON};
use crate::store::{Connection, params};

/// All routes about people.
pub(crate) fn routes() -> OpenApiRouter<Arc<Centre>> {
    OpenApiRouter::new()
        .routes(routes!(sign_in, session, sign_out))
        .routes(routes!(sign_in_by_link))
        .routes(routes!(operators, add_operator))
        .routes(routes!(remove_operator))
        .routes(routes!(tokens, make_token))
        .routes(routes!(revoke_token))
}

const SESSION: Duration = Duration::from_secs(12 * 3600);
const LINK: Duration = Duration::from_secs(24 * 3600);
/// Wrong passwords in a row before an operator is locked out.
const FREE_FAILURES: i64 = 5;
const FIRST_LOCK: Duration = Duration::from_secs(60);
const LONGEST_LOCK: Duration = Duration::from_secs(3600);

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignIn {
    name: String,
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignInByLink {
    token: String,
    password: String,
}

#[derive(Serialize, ToSchema)]
struct Session {
    operator: OperatorView,
    expires: String,
    version: &'static str,
}

#[derive(Serialize, ToSchema)]
struct OperatorView {
    name: String,
    /// `viewer`, `operator` or `administrator`.
    role: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Operators {
    items: Vec<OperatorRow>,
}

#[derive(Serialize, ToSchema)]
struct OperatorRow {
    name: String,
    role: &'static str,
    created: String,
    /// Whether a password was set yet.
    active: bool,
    locked_until: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOperator {
    name: String,
    role: String,
}

#[derive(Serialize, ToSchema)]
struct Invited {
    operator: OperatorView,
    /// Path and fragment of the one-time sign-in page.
    link: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewToken {
    name: String,
    role: String,
    expires_in_days: u32,
}

#[derive(Serialize, ToSchema)]
struct TokenMade {
    token: TokenView,
    /// The token itself; it is shown this once.
    text: String,
}

#[derive(Serialize, ToSchema)]
struct TokenView {
    id: String,
    name: String,
    role: &'static str,
    created: String,
    expires: String,
    made_by: String,
}

#[derive(Serialize, ToSchema)]
struct Tokens {
    items: Vec<TokenView>,
}

/// Signs an operator in with a password.
#[utoipa::path(post, path = "/v1/session", tag = "people", request_body = SignIn,
    responses((status = 200, body = Session), (status = 401, body = Problem), (status = 429, body = Problem)))]
async fn sign_in(
    State(centre): State<Arc<Centre>>,
    Address(from): Address,
    headers: HeaderMap,
    Json(body): Json<SignIn>,
) -> Result<Response, Problem> {
    from_own_page(&headers)?;
    centre.guesses.sign_in(from)?;
    let _turn = centre.guesses.hashing().await?;
    let password = Zeroizing::new(body.password);
    let now = centre.now();
    let found = store::operator(&mut centre.store.read().await?.connection(), &body.name).await?;
    let locked =
        found.as_ref().and_then(|operator| operator.locked_until).filter(|until| *until > now);
    let kept = found.as_ref().and_then(|operator| operator.password.clone());
    let good = passwords::matches(password, kept).await?;
    match found {
        Some(operator) if good && locked.is_none() => {
            begin(&centre, &operator.name, operator.role, None).await
        }
        found => {
            refuse(&centre, found, &from, now).await?;
            // One answer for an unknown name, a wrong password and a locked operator.
            Err(Problem::unauthenticated(
                "the name or the password is wrong, or the operator is locked out",
            ))
        }
    }
}

async fn refuse(
    centre: &Centre,
    found: Option<store::Operator>,
    from: &IpAddr,
    now: Time,
) -> Result<(), Problem> {
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    let actor = match &found {
        Some(operator) => Actor::Operator(operator.name.clone()),
        None => Actor::System("control"),
    };
    let draft = Draft::new("operator.refused", &actor)
        .with("peer", from)
        .with("reason", "the name or the password is wrong");
    centre.note(&mut c, draft, now).await?;
    if let Some(operator) = found {
        let failures = operator.failures.saturating_add(1);
        let until = lock(failures).map(|span| now.plus(span));
        let sql = "update operator set failures = $1, locked_until = $2 where name = $3";
        c.execute(sql, params![failures, until, &operator.name]).await?;
        if let Some(until) = until {
            let draft = Draft::new("operator.locked", &actor).with("until", until);
            centre.note(&mut c, draft, now).await?;
        }
    }
    write.commit().await?;
    centre.recorder.committed();
    Ok(())
}

/// How long so many failures in a row lock an operator out: doubling, up to an hour.
fn lock(failures: i64) -> Option<Duration> {
    let doublings = u32::try_from(failures.checked_sub(FREE_FAILURES)?).ok()?;
    Some(FIRST_LOCK.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_LOCK))
}

/// Signs an operator in by a one-time link, which sets the password.
#[utoipa::path(post, path = "/v1/session/link", tag = "people", request_body = SignInByLink,
    responses((status = 200, body = Session), (status = 401, body = Problem)))]
async fn sign_in_by_link(
    State(centre): State<Arc<Centre>>,
    Address(from): Address,
    headers: HeaderMap,
    Json(body): Json<SignInByLink>,
) -> Result<Response, Problem> {
    from_own_page(&headers)?;
    centre.guesses.sign_in(from)?;
    let used = || {
        Problem::unauthenticated(
            "the link is not known, was used or has expired; ask for a new one",
        )
    };
    let link = digest(&body.token);
    let mut read = centre.store.read().await?;
    let operator = store::operator_of_link(&mut read.connection(), &link, centre.now()).await?;
    drop(read);
    let operator = operator.ok_or_else(used)?;
    let _turn = centre.guesses.hashing().await?;
    let hash = passwords::hash(Zeroizing::new(body.password), centre.random()?).await?;
    begin(&centre, &operator.name, operator.role, Some((link, hash))).await
}

/// Begins a session; with a link, uses it up and sets the password in the same transaction.
async fn begin(
    centre: &Centre,
    name: &str,
    role: Role,
    link: Option<(Vec<u8>, String)>,
) -> Result<Response, Problem> {
    let now = centre.now();
    let expires = now.plus(SESSION);
    let cookie = secret("", &centre.random()?);
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    if let Some((link, hash)) = link {
        let sql =
            "update operator set password = $1, link = null, link_expires = null where link = $2";
        if c.execute(sql, params![hash, link]).await? != 1 {
            return Err(Problem::unauthenticated(
                "the link was used just now; sign in with the password",
            ));
        }
        // Whoever held the old password is out.
        c.execute("delete from session where operator = $1", params![name]).await?;
    }
    c.execute(
        "update operator set failures = 0, locked_until = null where name = $1",
        params![name],
    )
    .await?;
    store::begin_session(&mut c, &digest(&cookie), name, now, expires).await?;
    centre
        .note(&mut c, Draft::new("operator.signed-in", &Actor::Operator(name.to_owned())), now)
        .await?;
    write.commit().await?;
    centre.recorder.committed();
    let seconds = SESSION.as_secs();
    let cookie =
        format!("{COOKIE}={cookie}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict");
    let body = axum::Json(view(centre, name, role, expires));
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), body).into_response())
}

fn view(centre: &Centre, name: &str, role: Role, expires: Time) -> Session {
    Session {
        operator: OperatorView { name: name.to_owned(), role: role.as_str() },
        expires: expires.to_string(),
        version: centre.version,
    }
}

/// Says who is signed in.
#[utoipa::path(get, path = "/v1/session", tag = "people",
    responses((status = 200, body = Session), (status = 401, body = Problem)))]
async fn session(
    State(centre): State<Arc<Centre>>,
    AsViewer(principal): AsViewer,
) -> Result<axum::Json<Session>, Problem> {
    let now = centre.now();
    let expires = match &principal.session {
        Some(digest) => {
            let found =
                store::session(&mut centre.store.read().await?.connection(), digest, now).await?;
            found.map_or(now, |(_, _, expires)| expires)
        }
        None => now.plus(SESSION),
    };
    Ok(axum::Json(view(&centre, name_of(&principal), principal.role, expires)))
}

fn name_of(principal: &Principal) -> &str {
    match &principal.actor {
        Actor::Operator(name) | Actor::Token(name) => name,
        Actor::Device(id) => id.as_str(),
        Actor::System(name) => name,
    }
}

/// Ends the session.
#[utoipa::path(delete, path = "/v1/session", tag = "people", responses((status = 204)))]
async fn sign_out(
    State(centre): State<Arc<Centre>>,
    AsViewer(principal): AsViewer,
) -> Result<Response, Problem> {
    if let Some(digest) = principal.session {
        let mut write = centre.store.write().await?;
        write
            .connection()
            .execute("delete from session where digest = $1", params![digest])
            .await?;
        write.commit().await?;
    }
    let gone = format!("{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict");
    Ok((StatusCode::NO_CONTENT, AppendHeaders([(header::SET_COOKIE, gone)])).into_response())
}

/// Lists the operators.
#[utoipa::path(get, path = "/v1/operators", tag = "people", responses((status = 200, body = Operators)))]
async fn operators(
    State(centre): State<Arc<Centre>>,
    AsAdministrator(_who): AsAdministrator,
) -> Result<axum::Json<Operators>, Problem> {
    let rows = store::operators(&mut centre.store.read().await?.connection()).await?;
    let row = |operator: store::Operator| OperatorRow {
        name: operator.name,
        role: operator.role.as_str(),
        created: operator.created.to_string(),
        active: operator.password.is_some(),
        locked_until: operator.locked_until.map(|until| until.to_string()),
    };
    Ok(axum::Json(Operators { items: rows.into_iter().map(row).collect() }))
}

/// Adds an operator, or gives one that exists a new role and sign-in link.
#[utoipa::path(post, path = "/v1/operators", tag = "people", request_body = NewOperator,
    responses((status = 201, body = Invited), (status = 400, body = Problem)))]
async fn add_operator(
    State(centre): State<Arc<Centre>>,
    AsAdministrator(principal): AsAdministrator,
    Json(body): Json<NewOperator>,
) -> Result<(StatusCode, axum::Json<Invited>), Problem> {
    let role = body.role()?;
    let mut write = centre.store.write().await?;
    let link = invite(&centre, &mut write.connection(), &body.name, role, &principal.actor).await?;
    write.commit().await?;
    centre.recorder.committed();
    let operator = OperatorView { name: body.name, role: role.as_str() };
    Ok((StatusCode::CREATED, axum::Json(Invited { operator, link })))
}

impl NewOperator {
    fn role(&self) -> Result<Role, Problem> {
        check_name(&self.name)?;
        self.role.parse().map_err(Problem::malformed)
    }
}

impl NewToken {
    fn role(&self) -> Result<Role, Problem> {
        check_name(&self.name)?;
        if !(1..=365).contains(&self.expires_in_days) {
            return Err(Problem::malformed("a token lasts 1 to 365 days"));
        }
        self.role.parse().map_err(Problem::malformed)
    }
}

fn check_name(name: &str) -> Result<(), Problem> {
    let plain = |c: char| c.is_alphanumeric() || "-_.@+ ".contains(c);
    let fits =
        !name.is_empty() && name.len() <= 128 && name.chars().all(plain) && name.trim() == name;
    let reserved = name == "local";
    if fits && !reserved {
        return Ok(());
    }
    Err(Problem::malformed(
        "an operator's name has 1 to 128 letters, digits or `-_.@+`, and is not `local`",
    ))
}

async fn invite(
    centre: &Centre,
    c: &mut Connection<'_>,
    name: &str,
    role: Role,
    actor: &Actor,
) -> Result<String, Problem> {
    let now = centre.now();
    let text = secret("", &centre.random()?);
    let (link, expires) = (digest(&text), now.plus(LINK));
    if let Some(known) = store::operator(c, name).await? {
        let can_sign_in = known.password.is_some();
        if can_sign_in && known.role == Role::Administrator && role != Role::Administrator {
            another_administrator(c, name).await?;
        }
        let sql = "update operator set role = $1, link = $2, link_expires = $3 where name = $4";
        c.execute(sql, params![role.as_str(), link, expires, name]).await?;
    } else {
        let subject = keys::make(centre, c, name).await?;
        c.execute(
            "insert into operator (name, role, subject, link, link_expires, failures, created) \
             values ($1, $2, $3, $4, $5, 0, $6)",
            params![name, role.as_str(), subject.0.to_vec(), link, expires, now],
        )
        .await?;
    }
    let draft = Draft::new("operator.added", actor).on(PERSON, name).with("role", role.as_str());
    centre.note(c, draft, now).await?;
    Ok(format!("/welcome#{text}"))
}

/// Adds the first administrator where nobody can sign in yet, and gives the sign-in link.
pub(crate) async fn administrator_link(
    centre: &Centre,
    name: &str,
) -> Result<Option<String>, Problem> {
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    let able =
        "select name from operator where role = 'administrator' and password is not null limit 1";
    if c.row(able, params![]).await?.is_some() {
        return Ok(None);
    }
    let link = invite(centre, &mut c, name, Role::Administrator, &Actor::System("control")).await?;
    write.commit().await?;
    centre.recorder.committed();
    Ok(Some(link))
}

/// Sees to it that an administrator who may go or become less is not the last who can sign in.
async fn another_administrator(c: &mut Connection<'_>, than: &str) -> Result<(), Problem> {
    let others = "select name from operator where role = 'administrator' and password is not null \
                  and name <> $1 limit 1";
    match c.row(others, params![than]).await? {
        Some(_) => Ok(()),
        None => Err(Problem::conflict("this is the last administrator; add another first")),
    }
}

/// Removes an operator and forgets the name: the record keeps that somebody acted, not who.
#[utoipa::path(delete, path = "/v1/operators/{name}", tag = "people",
    params(("name" = String, Path)), responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn remove_operator(
    State(centre): State<Arc<Centre>>,
    AsAdministrator(principal): AsAdministrator,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let now = centre.now();
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    let found = store::operator(&mut c, &name).await?;
    let found = found.ok_or_else(|| Problem::not_found("operator", &name))?;
    if found.role == Role::Administrator {
        another_administrator(&mut c, &name).await?;
    }
    store::forget_operator(&mut c, &name).await?;
    centre
        .note(&mut c, Draft::new("operator.removed", &principal.actor).on(PERSON, &name), now)
        .await?;
    write.commit().await?;
    keys::forget(&centre, &name);
    if let Err(error) = centre.store.forget_deleted().await {
        warn!(%error, "a name that was forgotten may stay in the store's log for a while");
    }
    let named = centre.rules.borrow().changed_by == name;
    if named {
        let rules = policies::load(&mut centre.store.read().await?.connection(), now).await?;
        centre.rules.send_replace(rules);
    }
    centre.recorder.committed();
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the API tokens.
#[utoipa::path(get, path = "/v1/tokens", tag = "people", responses((status = 200, body = Tokens)))]
async fn tokens(
    State(centre): State<Arc<Centre>>,
    AsAdministrator(_who): AsAdministrator,
) -> Result<axum::Json<Tokens>, Problem> {
    let sql = "select id, name, role, created, expires, made_by from token order by created desc limit 1000";
    let rows = centre.store.read().await?.connection().rows(sql, params![]).await?;
    let mut items = Vec::new();
    for row in &rows {
        items.push(TokenView {
            id: row.get(0)?,
            name: row.get(1)?,
            role: row.parse::<Role>(2, "a role")?.as_str(),
            created: row.time(3)?.to_string(),
            expires: row.time(4)?.to_string(),
            made_by: row.get(5)?,
        });
    }
    Ok(axum::Json(Tokens { items }))
}

/// Makes an API token; its text is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/tokens", tag = "people", request_body = NewToken,
    responses((status = 201, body = TokenMade), (status = 400, body = Problem)))]
async fn make_token(
    State(centre): State<Arc<Centre>>,
    AsAdministrator(principal): AsAdministrator,
    Json(body): Json<NewToken>,
) -> Result<(StatusCode, axum::Json<TokenMade>), Problem> {
    let role = body.role()?;
    let now = centre.now();
    let expires = now.plus(Duration::from_secs(u64::from(body.expires_in_days) * 24 * 3600));
    let text = secret("palisade-token-1.", &centre.random()?);
    let id: String = centre.random::<8>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    let made_by = name_of(&principal).to_owned();
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    c.execute(
        "insert into token (id, digest, name, role, created, expires, made_by) values ($1, $2, $3, $4, $5, $6, $7)",
        params![&id, digest(&text), &body.name, role.as_str(), now, expires, &made_by],
    )
    .await?;
    let draft = Draft::new("token.made", &principal.actor)
        .on("token", &body.name)
        .with("role", role.as_str());
    centre.note(&mut c, draft.with("expires", expires), now).await?;
    write.commit().await?;
    centre.recorder.committed();
    let token = TokenView {
        id,
        name: body.name,
        role: role.as_str(),
        created: now.to_string(),
        expires: expires.to_string(),
        made_by,
    };
    Ok((StatusCode::CREATED, axum::Json(TokenMade { token, text })))
}

/// Revokes an API token at once.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "people",
    params(("id" = String, Path)), responses((status = 204), (status = 404, body = Problem)))]
async fn revoke_token(
    State(centre): State<Arc<Centre>>,
    AsAdministrator(principal): AsAdministrator,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let now = centre.now();
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    let row = c.row("select name from token where id = $1", params![&id]).await?;
    let name: String = row.ok_or_else(|| Problem::not_found("token", &id))?.get(0)?;
    c.execute("delete from token where id = $1", params![&id]).await?;
    centre
        .note(&mut c, Draft::new("token.revoked", &principal.actor).on("token", name), now)
        .await?;
    write.commit().await?;
    centre.recorder.committed();
    Ok(StatusCode::NO_CONTENT)
}

/// What these routes read, as far as they read it without the store.
pub(crate) const READS: &[Read] = &[
    ("POST /v1/session", |bytes| fuzz::body::<SignIn>(bytes).map(drop)),
    ("POST /v1/session/link", |bytes| fuzz::body::<SignInByLink>(bytes).map(drop)),
    ("POST /v1/operators", |bytes| fuzz::body::<NewOperator>(bytes)?.role().map(drop)),
    ("POST /v1/tokens", |bytes| fuzz::body::<NewToken>(bytes)?.role().map(drop)),
];

/// Signing in from a foreign page would sign a victim in as the attacker.
fn from_own_page(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get("sec-fetch-site").map(axum::http::HeaderValue::as_bytes) {
        None | Some(b"same-origin") => Ok(()),
        Some(_) => Err(Problem::forbidden("sign in from the console's own page")),
    }
}
