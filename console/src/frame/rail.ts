/** The rail's destinations: only those that exist. A new screen is one line here and one in the route. */
export type Destination = { path: string; name: string; key: string; screens: string[]; icon: string };

/** Icons are single paths drawn on a 20 by 20 field. */
export const DESTINATIONS: Destination[] = [
  {
    path: '/fleet',
    name: 'Fleet',
    key: 'f',
    screens: ['fleet', 'device'],
    icon: 'M3.5 4.5h5v5h-5zM11.5 4.5h5v5h-5zM3.5 12.5h5v3h-5zM11.5 12.5h5v3h-5z',
  },
  {
    path: '/events',
    name: 'Events',
    key: 'e',
    screens: ['events', 'decision'],
    icon: 'M3.5 5h1M3.5 10h1M3.5 15h1M7.5 5h9M7.5 10h9M7.5 15h6',
  },
  {
    path: '/policy',
    name: 'Policy',
    key: 'p',
    screens: ['policy'],
    icon: 'M10 2.8 16 5v4.6c0 3.6-2.5 6.2-6 7.6-3.5-1.4-6-4-6-7.6V5zM7.4 9.9l1.9 1.9 3.4-3.6',
  },
  {
    path: '/settings',
    name: 'Settings',
    key: 's',
    screens: ['settings'],
    icon: 'M3 6h8M15 6h2M3 14h2M9 14h8M11 4v4h4V4zM5 12v4h4v-4z',
  },
];
