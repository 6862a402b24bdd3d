-- HTTP requests with their responses, with the attributes of OpenTelemetry's semantic conventions.
select
    coalesce(request_time, response_time) as start_time,
    end_time,
    duration_ns,
    -- client or server, as the kind of a span.
    role as kind,
    trace_id,
    span_id,
    case
        when method in ('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH') then method
        when method is not null then '_OTHER'
    end as "http.request.method",
    case
        when method not in ('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH')
            then method
    end as "http.request.method_original",
    request_body_size as "http.request.body.size",
    status_code as "http.response.status_code",
    response_body_size as "http.response.body.size",
    scheme as "url.scheme",
    url as "url.full",
    path as "url.path",
    query as "url.query",
    -- A guess: the routes themselves are in no recording.
    path_template(path) as "url.template",
    user_agent as "user_agent.original",
    'http' as "network.protocol.name",
    version as "network.protocol.version",
    case role when 'client' then server_address else client_address end as "network.peer.address",
    case role when 'client' then server_port else client_port end as "network.peer.port",
    client_address as "client.address",
    client_port as "client.port",
    -- The name, where the request has one.
    coalesce(url_parts(url)['host'], server_address) as "server.address",
    server_port as "server.port",
    case when rpc_method is not null then 'grpc' end as "rpc.system",
    nullif(split_part(rpc_method, '/', 1), '') as "rpc.service",
    nullif(split_part(rpc_method, '/', 2), '') as "rpc.method",
    grpc_status as "rpc.grpc.status_code",
    -- What counts as an error of a server is none of its client's making.
    case
        when status_code >= 500 or (role = 'client' and status_code >= 400) then cast(status_code as varchar)
    end as "error.type",
    process_id,
    connection,
    exchange,
    record_offset,
    end_record_offset
from public.http_exchanges
