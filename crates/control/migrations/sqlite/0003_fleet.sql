-- What the fleet is counted by. Few devices change their stage; those that are connected are a list
-- of their own.

create index device_stage on device (stage);
create index device_connected on device (id) where connection = 'connected';
