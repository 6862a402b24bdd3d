-- Zeek's ssl.log: a TLS session, those that the host did for a guest included.
select
    tls.time as ts,
    conn.connection_uid as uid,
    case conn.role when 'client' then conn.local_address else conn.peer_address end as "id.orig_h",
    case conn.role when 'client' then conn.local_port else conn.peer_port end as "id.orig_p",
    case conn.role when 'client' then conn.peer_address else conn.local_address end as "id.resp_h",
    case conn.role when 'client' then conn.peer_port else conn.local_port end as "id.resp_p",
    case when tls.version = 'ssl3' then 'SSLv3' else 'TLSv' || replace(tls.version, '.', '') end as version,
    tls.cipher,
    tls.server_name,
    case when tls.error like 'alert %' then substr(tls.error, 7) end as last_alert,
    tls.alpn as next_protocol,
    tls.version is not null and tls.error is null as established,
    tls.certificate_subject as subject,
    tls.certificate_issuer as issuer,
    tls.ja4,
    tls.process_id
from public.tls_sessions as tls
join public.connections as conn using (process_id, connection)
