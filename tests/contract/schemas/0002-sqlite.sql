BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE client_secrets (
	id VARCHAR(32) NOT NULL, 
	digest BLOB NOT NULL, 
	gateway VARCHAR(64) NOT NULL, 
	grant JSON NOT NULL, 
	sealed BLOB NOT NULL, 
	expires_at FLOAT NOT NULL, 
	uses INTEGER NOT NULL, 
	spent FLOAT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (digest)
);
INSERT INTO "client_secrets" VALUES('sec_1',X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F','prod','{"provider": "openai", "model": "gpt-realtime"}',X'0100FF7365616C6564',1790000600.0,1,0.25);
CREATE TABLE gateway_keys (
	id VARCHAR(32) NOT NULL, 
	gateway VARCHAR(64) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	digest BLOB NOT NULL, 
	hint VARCHAR(16) NOT NULL, 
	scopes JSON NOT NULL, 
	models JSON NOT NULL, 
	created_at FLOAT NOT NULL, 
	expires_at FLOAT, 
	revoked_at FLOAT, limits JSON DEFAULT '{}' NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(gateway) REFERENCES gateways (id) ON DELETE CASCADE, 
	UNIQUE (digest)
);
INSERT INTO "gateway_keys" VALUES('key_1','prod','voice app',X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F','abcd','["run"]','["gpt-*"]',1790000001.5,1999999999.75,NULL,'{"concurrent": 2}');
CREATE TABLE gateways (
	id VARCHAR(64) NOT NULL, 
	authenticated BOOLEAN NOT NULL, 
	stored_key_wins BOOLEAN NOT NULL, 
	client_secrets VARCHAR(16) NOT NULL, 
	allowed_origins JSON NOT NULL, 
	created_at FLOAT NOT NULL, realtime JSON DEFAULT '{}' NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "gateways" VALUES('prod',1,1,'relay','["https://app.example"]',1.79000000012345600124e+09,'{"limits": {"idle": 60.0}, "resume": false}');
INSERT INTO "gateways" VALUES('default',0,0,'brokered','[]',1790000000.5,'{}');
CREATE TABLE realtime_sessions (
	id VARCHAR(32) NOT NULL, 
	gateway VARCHAR(64) NOT NULL, 
	key_id VARCHAR(32) NOT NULL, 
	provider VARCHAR(64) NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	started_at FLOAT NOT NULL, 
	written_at FLOAT NOT NULL, 
	ended_at FLOAT, 
	tokens INTEGER NOT NULL, 
	cost FLOAT NOT NULL, 
	record JSON NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "realtime_sessions" VALUES('01KSESSION0000000000000001','prod','key_1','openai','gpt-realtime',1790000100.25,1790000160.5,1790000161.0,1234,0.0625,'{"caller": "voice app", "user_agent": "café/1", "report": {}}');
CREATE TABLE stored_keys (
	gateway VARCHAR(64) NOT NULL, 
	provider VARCHAR(64) NOT NULL, 
	alias VARCHAR(64) NOT NULL, 
	sealed BLOB NOT NULL, 
	hint VARCHAR(16) NOT NULL, 
	created_at FLOAT NOT NULL, 
	changed_at FLOAT NOT NULL, 
	PRIMARY KEY (gateway, provider, alias), 
	FOREIGN KEY(gateway) REFERENCES gateways (id) ON DELETE CASCADE
);
INSERT INTO "stored_keys" VALUES('prod','openai','default',X'0100FF7365616C6564','6789',1790000002.0,1790000003.0);
CREATE TABLE vault_state (
	id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	key_check BLOB, 
	PRIMARY KEY (id)
);
INSERT INTO "vault_state" VALUES(1,7,NULL);
CREATE TABLE vias (
	gateway VARCHAR(64) NOT NULL, 
	provider VARCHAR(64) NOT NULL, 
	base_url VARCHAR(500) NOT NULL, 
	sealed_token BLOB, 
	realtime_key VARCHAR(16) NOT NULL, 
	PRIMARY KEY (gateway, provider), 
	FOREIGN KEY(gateway) REFERENCES gateways (id) ON DELETE CASCADE
);
INSERT INTO "vias" VALUES('prod','groq','https://gateway.example/v1/a/b',NULL,'header');
CREATE INDEX ix_gateway_keys_gateway ON gateway_keys (gateway);
CREATE INDEX ix_client_secrets_expires_at ON client_secrets (expires_at);
CREATE INDEX ix_realtime_sessions_started_at ON realtime_sessions (started_at);
COMMIT;
