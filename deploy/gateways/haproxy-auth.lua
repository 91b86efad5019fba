-- Asks JOSOOR Auth whether a request may pass, for haproxy.cfg.
--
--     http-request lua.josoor_auth QUERY
--
-- asks /auth/check?QUERY with the request's token. After a yes the request has the X-Auth-* headers of the answer, and the
-- variable txn.josoor_auth is "yes". A refusal is passed on to the client as it is; without an answer the client gets 503.

local service = os.getenv("JOSOOR_AUTH")

-- What a service learns of the caller.
local identity = {
    "x-auth-user-id", "x-auth-user-uid", "x-auth-email", "x-auth-email-verified",
    "x-auth-role", "x-auth-session-id", "x-auth-user-version", "x-auth-acr",
}

-- What a client learns of a refusal.
local explanation = { "content-type", "www-authenticate", "retry-after", "cache-control", "x-request-id" }

local function all(headers, name)
    local values = {}
    local given = headers[name]
    if given == nil then
        return values
    end
    for index, value in pairs(given) do
        values[index] = value
    end
    return values
end

-- A header's values, numbered from 1 as the client of HAProxy wants them.
local function copy(headers, name)
    local values = {}
    for _, value in pairs(all(headers, name)) do
        values[#values + 1] = value
    end
    return values
end

core.register_action("josoor_auth", { "http-req" }, function(txn, query)
    local headers = txn.http:req_get_headers()
    local ask = { accept = { "application/problem+json" } }
    for _, name in ipairs({ "authorization", "x-forwarded-for" }) do
        local values = copy(headers, name)
        if #values > 0 then
            ask[name] = values
        end
    end

    local answer = core.httpclient():get({
        url = service .. "/auth/check?" .. query,
        headers = ask,
        timeout = 2500,
    })

    if answer and answer.status == 200 then
        for _, name in ipairs(identity) do
            for _, value in pairs(all(answer.headers or {}, name)) do
                txn.http:req_set_header(name, value)
            end
        end
        txn:set_var("txn.josoor_auth", "yes")
        return
    end

    local reply
    if answer and (answer.status == 401 or answer.status == 403) then
        reply = txn:reply({ status = answer.status, body = answer.body or "" })
        for _, name in ipairs(explanation) do
            for _, value in pairs(all(answer.headers or {}, name)) do
                reply:add_header(name, value)
            end
        end
    else
        reply = txn:reply({ status = 503, body = "" })
        reply:add_header("retry-after", "1")
    end
    txn:done(reply)
end, 1)
