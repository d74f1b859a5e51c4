-- The registry, the people and what was decided. Times are milliseconds since the Unix epoch.

create table meta (
    name text not null primary key,
    value blob not null
) strict;

create table site (
    id text not null primary key,
    title text not null,
    created integer not null
) strict;

create table zone (
    id text not null primary key,
    site text not null references site (id),
    title text not null,
    created integer not null
) strict;

create table kind (
    id text not null primary key,
    title text not null,
    created integer not null
) strict;

create table device (
    id text not null primary key,
    title text,
    kind text not null references kind (id),
    zone text not null references zone (id),
    owner text,
    labels text not null,
    stage text not null,
    epoch integer not null,
    connection text not null,
    connection_since integer,
    peer text,
    protocol text,
    seen integer not null,
    attention integer not null,
    created integer not null,
    changed integer not null
) strict;
create index device_attention on device (attention desc, id);
create index device_kind on device (kind, id);
create index device_zone on device (zone, id);
create index device_seen on device (seen desc, id);
create index device_created on device (created desc, id);

create table fact (
    device text not null references device (id),
    name text not null,
    value text not null,
    reason text,
    source text not null,
    since integer not null,
    primary key (device, name)
) strict;

create table alert (
    device text not null references device (id),
    code text not null,
    severity integer not null,
    message text not null,
    since integer not null,
    n integer not null,
    primary key (device, code)
) strict;

create table certificate (
    serial blob not null primary key,
    device text not null references device (id),
    state text not null,
    intent blob not null,
    key_digest blob not null,
    der blob,
    fingerprint blob unique,
    not_before integer not null,
    not_after integer not null,
    created integer not null,
    revoked_at integer,
    revoked_reason text
) strict;
create index certificate_device on certificate (device, created desc);

create table claim (
    digest blob not null primary key,
    device text not null references device (id),
    created integer not null,
    expires integer not null,
    used integer,
    key_digest blob,
    serial blob
) strict;
create index claim_device on claim (device, created desc);

create table operator (
    name text not null primary key,
    role text not null,
    password text,
    subject blob not null,
    link blob unique,
    link_expires integer,
    failures integer not null,
    locked_until integer,
    created integer not null
) strict;

create table session (
    digest blob not null primary key,
    operator text not null references operator (name),
    created integer not null,
    expires integer not null
) strict;
create index session_operator on session (operator);

create table token (
    id text not null primary key,
    digest blob not null unique,
    name text not null,
    role text not null,
    created integer not null,
    expires integer not null,
    made_by text not null
) strict;

create table policy (
    version integer not null primary key,
    source text not null,
    namespaces text not null,
    changed integer not null,
    changed_by text not null
) strict;

create table decision (
    id text not null primary key,
    device text not null,
    explanation text not null,
    first integer not null,
    last integer not null,
    n integer not null
) strict;
create index decision_last on decision (last);
create index decision_device on decision (device, last desc);

create table outbox (
    seq integer not null primary key autoincrement,
    event blob not null
) strict;

create table subject_key (
    id blob not null primary key,
    sealed blob not null
) strict;
