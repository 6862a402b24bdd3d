-- Zeek's dns.log: a query with its response, or one of them without the other.
select
    coalesce(query.time, response.time) as ts,
    conn.connection_uid as uid,
    case conn.role when 'client' then conn.local_address else conn.peer_address end as "id.orig_h",
    case conn.role when 'client' then conn.local_port else conn.peer_port end as "id.orig_p",
    case conn.role when 'client' then conn.peer_address else conn.local_address end as "id.resp_h",
    case conn.role when 'client' then conn.peer_port else conn.local_port end as "id.resp_p",
    coalesce(query.transport, response.transport) as proto,
    coalesce(query.id, response.id) as trans_id,
    -- In seconds, as in Zeek's logs.
    cast(response.rtt_ns as double) / 1000000000 as rtt,
    lower(coalesce(query.question_name, response.question_name)) as query,
    coalesce(query.question_class, response.question_class) as qclass_name,
    coalesce(query.question_type, response.question_type) as qtype_name,
    response.rcode as rcode_name,
    coalesce(response.aa, false) as "AA",
    coalesce(response.tc, query.tc) as "TC",
    coalesce(query.rd, response.rd) as "RD",
    coalesce(response.ra, false) as "RA",
    array_transform(response.answers, answer -> answer['data']) as answers,
    array_transform(response.answers, answer -> cast(answer['ttl'] as double)) as "TTLs",
    coalesce(response.rcode <> 'NOERROR' and empty(response.questions), false) as rejected,
    conn.process_id
from public.dns_messages as query
full join public.dns_messages as response
    on query.process_id = response.process_id
    and query.connection = response.connection
    and query.record_offset = response.query_record_offset
    and query.id = response.id
    and not query.response
join public.connections as conn
    on conn.process_id = coalesce(query.process_id, response.process_id)
    and conn.connection = coalesce(query.connection, response.connection)
-- What found nothing to join with is there once as each.
where (query.process_id is null or not query.response)
    and (response.process_id is null or response.response)
