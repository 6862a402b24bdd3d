-- Zeek's conn.log: a connection over IP. What was refused by policy never became one.
select
    open_time as ts,
    connection_uid as uid,
    case role when 'client' then local_address else peer_address end as "id.orig_h",
    case role when 'client' then local_port else peer_port end as "id.orig_p",
    case role when 'client' then peer_address else local_address end as "id.resp_h",
    case role when 'client' then peer_port else local_port end as "id.resp_p",
    coalesce(transport, 'unknown_transport') as proto,
    case protocol when 'tls' then 'ssl' when 'h2' then 'http' else protocol end as service,
    -- In seconds, as in Zeek's logs.
    cast(duration_ns as double) / 1000000000 as duration,
    case role when 'client' then bytes_sent else bytes_received end as orig_bytes,
    case role when 'client' then bytes_received else bytes_sent end as resp_bytes,
    state as conn_state,
    process_id
from public.connections
where coalesce(transport, 'unknown_transport') not in ('unix_stream', 'unix_datagram')
    and state <> 'DENIED'
