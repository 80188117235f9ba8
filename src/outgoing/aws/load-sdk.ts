/**
 * The parts of the AWS SDK, loaded when they are first used. On an old Node it would write an advice for developers to
 * standard error, between the lines of our log.
 */
const loaded = <M>(load: () => Promise<M>) => {
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';
  return load();
};

export const loadEcr = () => loaded(() => import('@aws-sdk/client-ecr'));
export const loadEcrPublic = () => loaded(() => import('@aws-sdk/client-ecr-public'));
export const loadProviders = () => loaded(() => import('@aws-sdk/credential-providers'));
export const loadSigning = () =>
  loaded(async () => {
    const [{ SignatureV4 }, { Sha256 }] = await Promise.all([
      import('@smithy/signature-v4'),
      import('@smithy/core/checksum'),
    ]);
    return { SignatureV4, Sha256 };
  });
