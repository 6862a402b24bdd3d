-- Connections with the attributes of OpenTelemetry's semantic conventions.
select
    open_time as start_time,
    close_time as end_time,
    duration_ns,
    -- Unix sockets are one transport there.
    case when transport like 'unix%' then 'unix' else transport end as "network.transport",
    case
        when local_address like 'unix:%' or peer_address like 'unix:%' then null
        when coalesce(peer_address, local_address) like '%:%' then 'ipv6'
        when coalesce(peer_address, local_address) is not null then 'ipv4'
    end as "network.type",
    case protocol when 'h2' then 'http' else protocol end as "network.protocol.name",
    case protocol when 'h2' then '2' end as "network.protocol.version",
    local_address as "network.local.address",
    local_port as "network.local.port",
    peer_address as "network.peer.address",
    peer_port as "network.peer.port",
    case role when 'client' then local_address else peer_address end as "client.address",
    case role when 'client' then local_port else peer_port end as "client.port",
    -- The name, where one is known.
    case role when 'client' then coalesce(server_name, peer_address) else coalesce(server_name, local_address) end
        as "server.address",
    case role when 'client' then peer_port else local_port end as "server.port",
    error as "error.type",
    process_id,
    connection,
    record_offset,
    end_record_offset
from public.connections
