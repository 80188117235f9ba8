/** Where the sockets are when nothing is said. */
export const usualDirectory = '/run/kubelet-image-service';

export const usualSocket = `${usualDirectory}/image.sock`;
/** Beside the socket for kubelet. */
export const adminSocketName = 'admin.sock';
export const usualAdminSocket = `${usualDirectory}/${adminSocketName}`;
