-- Zeek's http.log: a request with its response, over IP.
select
    coalesce(http.request_time, http.response_time) as ts,
    conn.connection_uid as uid,
    http.client_address as "id.orig_h",
    http.client_port as "id.orig_p",
    http.server_address as "id.resp_h",
    http.server_port as "id.resp_p",
    http.exchange + 1 as trans_depth,
    http.method,
    http.authority as host,
    case http.method
        when 'CONNECT' then http.authority
        else http.path || coalesce('?' || http.query, '')
    end as uri,
    header(http.request_headers, 'referer') as referrer,
    http.version,
    http.user_agent,
    header(http.request_headers, 'origin') as origin,
    coalesce(http.request_body_size, 0) as request_body_len,
    coalesce(http.response_body_size, 0) as response_body_len,
    http.status_code,
    http.reason as status_msg,
    http.informational[-1]['status'] as info_code,
    http.process_id
from public.http_exchanges as http
join public.connections as conn using (process_id, connection)
where coalesce(conn.transport, 'unknown_transport') not in ('unix_stream', 'unix_datagram')
