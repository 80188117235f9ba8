/** How we name ourselves to upstreams, also as OAuth2 `client_id`. */
export const userAgent = 'docker-registry-proxy';
