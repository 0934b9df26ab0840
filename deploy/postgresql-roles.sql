-- Two roles for one database: who makes the tables, and who writes into them. Run it once the tables are there
-- (`ksql migrate` as the owner of the database), as that owner or a superuser; again after every migration.
-- Then let the server log in as a member:  CREATE ROLE ksql LOGIN IN ROLE ksql_server;
--
-- The server's role can add events and read them. It can neither change nor delete one, nor drop or disable the
-- triggers that refuse that to everybody, since the tables are not its own: whoever takes the server over can lie
-- about what happens next, not about what happened.
DO $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'ksql_server') THEN
    CREATE ROLE ksql_server NOLOGIN;
  END IF;
  IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'ksql_reader') THEN
    CREATE ROLE ksql_reader NOLOGIN;
  END IF;
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, ksql_server, ksql_reader;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO ksql_server, ksql_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO ksql_server, ksql_reader;
GRANT INSERT ON ALL TABLES IN SCHEMA public TO ksql_server;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ksql_server;

-- What is rewritten or kept for a while only: everything but the events, the names in them, and what proves them.
DO $$
DECLARE
  kept CONSTANT text[] := ARRAY['events', 'streams', 'places', 'actors', 'actions', 'dictionaries', 'seals',
                                'retirements', 'erasures', 'alembic_version'];
  found record;
BEGIN
  FOR found IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL (kept) LOOP
    EXECUTE format('GRANT UPDATE, DELETE ON public.%I TO ksql_server', found.tablename);
  END LOOP;
END $$;
REVOKE INSERT ON alembic_version FROM ksql_server;
