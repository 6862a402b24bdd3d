-- DNS messages with the fields of the Elastic Common Schema.
select
    dns.time as "@timestamp",
    dns.rtt_ns as "event.duration",
    'event' as "event.kind",
    ['network'] as "event.category",
    ['connection', 'protocol'] as "event.type",
    case
        when dns.rcode = 'NOERROR' then 'success'
        when dns.rcode is not null then 'failure'
        else 'unknown'
    end as "event.outcome",
    case when dns.response then 'answer' when not dns.response then 'query' end as "dns.type",
    cast(dns.id as varchar) as "dns.id",
    dns.opcode as "dns.op_code",
    dns.rcode as "dns.response_code",
    string_to_array(
        nullif(
            concat_ws(
                ' ',
                case when dns.aa then 'AA' end,
                case when dns.tc then 'TC' end,
                case when dns.rd then 'RD' end,
                case when dns.ra then 'RA' end,
                case when dns.ad then 'AD' end,
                case when dns.cd then 'CD' end,
                case when dns.edns['do'] then 'DO' end
            ),
            ''
        ),
        ' '
    ) as "dns.header_flags",
    dns.question_name as "dns.question.name",
    dns.question_type as "dns.question.type",
    dns.question_class as "dns.question.class",
    dns.answers as "dns.answers",
    dns.resolved_addresses as "dns.resolved_ip",
    'dns' as "network.protocol",
    case when dns.transport like 'unix%' then 'unix' else dns.transport end as "network.transport",
    case conn.role when 'client' then conn.local_address else conn.peer_address end as "source.address",
    case conn.role when 'client' then conn.local_port else conn.peer_port end as "source.port",
    case conn.role when 'client' then conn.peer_address else conn.local_address end as "destination.address",
    case conn.role when 'client' then conn.peer_port else conn.local_port end as "destination.port",
    dns.error as "error.message",
    dns.process_id as "process.entity_id",
    dns.connection,
    dns.record_offset
from public.dns_messages as dns
join public.connections as conn using (process_id, connection)
