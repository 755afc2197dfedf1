CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.client_secrets (
    id character varying(32) NOT NULL,
    digest bytea NOT NULL,
    gateway character varying(64) NOT NULL,
    "grant" json NOT NULL,
    sealed bytea NOT NULL,
    expires_at double precision NOT NULL,
    uses integer NOT NULL,
    spent double precision NOT NULL
);
CREATE TABLE public.gateway_keys (
    id character varying(32) NOT NULL,
    gateway character varying(64) NOT NULL,
    name character varying(200) NOT NULL,
    digest bytea NOT NULL,
    hint character varying(16) NOT NULL,
    scopes json NOT NULL,
    models json NOT NULL,
    created_at double precision NOT NULL,
    expires_at double precision,
    revoked_at double precision,
    limits json DEFAULT '{}'::json NOT NULL
);
CREATE TABLE public.gateways (
    id character varying(64) NOT NULL,
    authenticated boolean NOT NULL,
    stored_key_wins boolean NOT NULL,
    client_secrets character varying(16) NOT NULL,
    allowed_origins json NOT NULL,
    created_at double precision NOT NULL,
    realtime json DEFAULT '{}'::json NOT NULL
);
CREATE TABLE public.realtime_sessions (
    id character varying(32) NOT NULL,
    gateway character varying(64) NOT NULL,
    key_id character varying(32) NOT NULL,
    provider character varying(64) NOT NULL,
    model character varying(200) NOT NULL,
    started_at double precision NOT NULL,
    written_at double precision NOT NULL,
    ended_at double precision,
    tokens integer NOT NULL,
    cost double precision NOT NULL,
    record json NOT NULL
);
CREATE TABLE public.stored_keys (
    gateway character varying(64) NOT NULL,
    provider character varying(64) NOT NULL,
    alias character varying(64) NOT NULL,
    sealed bytea NOT NULL,
    hint character varying(16) NOT NULL,
    created_at double precision NOT NULL,
    changed_at double precision NOT NULL
);
CREATE TABLE public.vault_state (
    id integer NOT NULL,
    number integer NOT NULL,
    key_check bytea
);
CREATE SEQUENCE public.vault_state_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.vault_state_id_seq OWNED BY public.vault_state.id;
CREATE TABLE public.vias (
    gateway character varying(64) NOT NULL,
    provider character varying(64) NOT NULL,
    base_url character varying(500) NOT NULL,
    sealed_token bytea,
    realtime_key character varying(16) NOT NULL
);
ALTER TABLE ONLY public.vault_state ALTER COLUMN id SET DEFAULT nextval('public.vault_state_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0002');
INSERT INTO public.client_secrets VALUES ('sec_1', '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'prod', '{"provider": "openai", "model": "gpt-realtime"}', '\x0100ff7365616c6564', 1790000600, 1, 0.25);
INSERT INTO public.gateway_keys VALUES ('key_1', 'prod', 'voice app', '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'abcd', '["run"]', '["gpt-*"]', 1790000001.5, 1999999999.75, NULL, '{"concurrent": 2}');
INSERT INTO public.gateways VALUES ('prod', true, true, 'relay', '["https://app.example"]', 1790000000.123456, '{"limits": {"idle": 60.0}, "resume": false}');
INSERT INTO public.gateways VALUES ('default', false, false, 'brokered', '[]', 1790000000.5, '{}');
INSERT INTO public.realtime_sessions VALUES ('01KSESSION0000000000000001', 'prod', 'key_1', 'openai', 'gpt-realtime', 1790000100.25, 1790000160.5, 1790000161, 1234, 0.0625, '{"caller": "voice app", "user_agent": "café/1", "report": {}}');
INSERT INTO public.stored_keys VALUES ('prod', 'openai', 'default', '\x0100ff7365616c6564', '6789', 1790000002, 1790000003);
INSERT INTO public.vault_state VALUES (1, 7, NULL);
INSERT INTO public.vias VALUES ('prod', 'groq', 'https://gateway.example/v1/a/b', NULL, 'header');
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.client_secrets
    ADD CONSTRAINT client_secrets_digest_key UNIQUE (digest);
ALTER TABLE ONLY public.client_secrets
    ADD CONSTRAINT client_secrets_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.gateway_keys
    ADD CONSTRAINT gateway_keys_digest_key UNIQUE (digest);
ALTER TABLE ONLY public.gateway_keys
    ADD CONSTRAINT gateway_keys_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.gateways
    ADD CONSTRAINT gateways_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.realtime_sessions
    ADD CONSTRAINT realtime_sessions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.stored_keys
    ADD CONSTRAINT stored_keys_pkey PRIMARY KEY (gateway, provider, alias);
ALTER TABLE ONLY public.vault_state
    ADD CONSTRAINT vault_state_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.vias
    ADD CONSTRAINT vias_pkey PRIMARY KEY (gateway, provider);
CREATE INDEX ix_client_secrets_expires_at ON public.client_secrets USING btree (expires_at);
CREATE INDEX ix_gateway_keys_gateway ON public.gateway_keys USING btree (gateway);
CREATE INDEX ix_realtime_sessions_started_at ON public.realtime_sessions USING btree (started_at);
ALTER TABLE ONLY public.gateway_keys
    ADD CONSTRAINT gateway_keys_gateway_fkey FOREIGN KEY (gateway) REFERENCES public.gateways(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.stored_keys
    ADD CONSTRAINT stored_keys_gateway_fkey FOREIGN KEY (gateway) REFERENCES public.gateways(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.vias
    ADD CONSTRAINT vias_gateway_fkey FOREIGN KEY (gateway) REFERENCES public.gateways(id) ON DELETE CASCADE;
