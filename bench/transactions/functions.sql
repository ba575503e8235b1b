-- What a client of the shop makes for an order, here made by the server, the cheapest way there is:
-- a time-ordered id and a random code.

CREATE FUNCTION new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        overlay(
            uuid_send(gen_random_uuid())
            PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
            FROM 1 FOR 6
        ),
        'hex'
    )::uuid
$$;

CREATE FUNCTION new_code() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT substring(encode(uuid_send(gen_random_uuid()), 'hex') FROM 1 FOR 12)
$$;
