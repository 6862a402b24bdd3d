-- Connections with the fields of the Elastic Common Schema.
select
    open_time as "@timestamp",
    open_time as "event.start",
    close_time as "event.end",
    duration_ns as "event.duration",
    'event' as "event.kind",
    ['network'] as "event.category",
    case state when 'DENIED' then ['connection', 'denied'] else ['connection'] end as "event.type",
    case when error is null then 'success' else 'failure' end as "event.outcome",
    case when transport like 'unix%' then 'unix' else transport end as "network.transport",
    case
        when local_address like 'unix:%' or peer_address like 'unix:%' then null
        when coalesce(peer_address, local_address) like '%:%' then 'ipv6'
        when coalesce(peer_address, local_address) is not null then 'ipv4'
    end as "network.type",
    case protocol when 'h2' then 'http' else protocol end as "network.protocol",
    case role when 'client' then 'egress' else 'ingress' end as "network.direction",
    bytes_sent + bytes_received as "network.bytes",
    case role when 'client' then local_address else peer_address end as "source.address",
    case
        when transport like 'unix%' then null
        when role = 'client' then local_address
        else peer_address
    end as "source.ip",
    case role when 'client' then local_port else peer_port end as "source.port",
    case role when 'client' then bytes_sent else bytes_received end as "source.bytes",
    case role when 'client' then peer_address else local_address end as "destination.address",
    case
        when transport like 'unix%' then null
        when role = 'client' then peer_address
        else local_address
    end as "destination.ip",
    case role when 'client' then peer_port else local_port end as "destination.port",
    case role when 'client' then bytes_received else bytes_sent end as "destination.bytes",
    server_name as "destination.domain",
    error as "error.code",
    connection_uid as "event.id",
    process_id as "process.entity_id",
    connection,
    record_offset,
    end_record_offset
from public.connections
