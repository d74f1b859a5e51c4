-- Witnesses whose cosignatures the record keeps: declared by an administrator, known by their key.

create table witness (
    name text not null primary key,
    key text not null unique,
    added bigint not null,
    size bigint,
    seen bigint
);
