-- Witnesses whose cosignatures the record keeps: declared by an administrator, known by their key.

create table witness (
    name text not null primary key,
    key text not null unique,
    added integer not null,
    size integer,
    seen integer
) strict;
