-- DNS messages with the attributes of OpenTelemetry's semantic conventions.
select
    dns.time as start_time,
    dns.rtt_ns as duration_ns,
    dns.question_name as "dns.question.name",
    dns.resolved_addresses as "dns.answers",
    'dns' as "network.protocol.name",
    case when dns.transport like 'unix%' then 'unix' else dns.transport end as "network.transport",
    conn.local_address as "network.local.address",
    conn.local_port as "network.local.port",
    conn.peer_address as "network.peer.address",
    conn.peer_port as "network.peer.port",
    case when dns.rcode <> 'NOERROR' then dns.rcode end as "error.type",
    dns.process_id,
    dns.connection,
    dns.record_offset
from public.dns_messages as dns
join public.connections as conn using (process_id, connection)
