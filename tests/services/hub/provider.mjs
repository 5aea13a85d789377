// An OpenID Connect provider for tests: whoever logs in is who they say they are, and
// may choose a name: "sub-of-eve as alice" is eve, who likes to be called alice.
// node provider.mjs PORT HUB_URL ACCESS_TOKEN_SECONDS; oidc-provider is beside it.
import { Provider } from 'oidc-provider';

const [port, hub, seconds] = process.argv.slice(2);

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'casa',
    client_secret: 'only-for-this-test',
    redirect_uris: [`${hub}/hub/oauth_callback`],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
  }],
  scopes: ['openid', 'profile', 'offline_access', 'wlcg.groups', 'storage.read:/'],
  claims: {
    openid: ['sub'], profile: ['preferred_username'], 'wlcg.groups': ['wlcg.groups'],
  },
  conformIdTokenClaims: false, // the hub reads the name from the identity token
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      preferred_username: id.split(/ as |-of-/).pop(),
      'wlcg.groups': id === 'sub-of-alice' ? ['/casa', '/casa/large'] : ['/casa'],
    }),
  }),
  features: {
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'https://wlcg.cern.ch/jwt/v1/any',
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: 'storage.read:/',
        audience: resource,
        accessTokenFormat: 'jwt', // as WLCG's issuers give
        accessTokenTTL: Number(seconds),
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
  issueRefreshToken: () => true,
  pkce: { required: () => false },
  cookies: { keys: ['only-for-this-test'] },
  ttl: {
    AccessToken: Number(seconds), Grant: 3600, IdToken: 3600, Interaction: 600,
    RefreshToken: 3600, Session: 3600,
  },
});

provider.listen(Number(port), '127.0.0.1', () => console.log('provider is up'));
