/** Of a drop-in: all that does not name us. */
const ofAll: readonly RegExp[] = [
  /^# (?:BEGIN|END) kubelet-image-service\b/,
  /^\[(?:Unit|Service|Timer)\]$/,
  /^ExecStart=$/,
  /^[^#;][\s\S]*(?:kubelet-image-service|KUBELET_IMAGE_SERVICE_ARGUMENTS)/,
];

/** Of units of our own. */
const ofUnits: readonly RegExp[] = [
  /^Description=/,
  /^Before=(?:kubelet|k3s|k3s-agent|rke2-server|rke2-agent)\.service$/,
  /^After=containerd\.service /,
  /^(?:StartLimitIntervalSec=0|Type=\w+|Restart=always|RestartSec=1|OOMScoreAdjust=-999|UMask=0077)$/,
  /^(?:On\w+Sec=30s|AccuracySec=1s)$/,
  /^ExecStart=systemctl try-restart (?:kubelet|k3s|k3s-agent|rke2-server|rke2-agent)\.service$/,
];

/**
 * Tells lines that one of our versions has written, in a file of ours that no record speaks of any more.
 *
 * @param text all of the file
 */
export function ownLinesOf(text: string): (entry: string) => boolean {
  const isDropIn = /\bkubelet-arguments\b|KUBELET_IMAGE_SERVICE_ARGUMENTS/.test(text);
  const forms = isDropIn ? ofAll : [...ofAll, ...ofUnits];
  return (entry) => forms.some((form) => form.test(entry.trim()));
}
